//! What a file holds, by its name, and whether a browser may show it.

use std::path::Path;

/// Source text whose ending means something else to those who register types: a video stream, a 3D model.
const SOURCES: [&str; 4] = ["ts", "mts", "cts", "rs"];

const BYTES: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";

/// The content type of a file of this name.
pub(super) fn of(path: &Path) -> String {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if SOURCES.iter().any(|source| ending.eq_ignore_ascii_case(source)) {
        return TEXT.to_owned();
    }
    match mime_guess::from_ext(ending).first_raw() {
        Some(text) if text.starts_with("text/") => format!("{text}; charset=utf-8"),
        Some(known) => known.to_owned(),
        None => BYTES.to_owned(),
    }
}

/// Whether a browser may show it in its window: only what cannot run. An SVG image can when it is opened by itself; in a
/// page it is shown all the same.
pub(super) fn is_shown(kind: &str) -> bool {
    let harmless = ["image/", "audio/", "video/"].iter().any(|group| kind.starts_with(group));
    kind == TEXT || (harmless && !kind.ends_with("+xml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        for (name, kind, shown) in [
            ("a.txt", TEXT, true),
            ("main.rs", TEXT, true),
            ("app.TS", TEXT, true),
            ("a.png", "image/png", true),
            ("a.mp4", "video/mp4", true),
            ("a.svg", "image/svg+xml", false),
            ("a.html", "text/html; charset=utf-8", false),
            ("a.js", "text/javascript; charset=utf-8", false),
            ("a.pdf", "application/pdf", false),
            ("Makefile", BYTES, false),
            ("a.no-such-ending", BYTES, false),
            (".txt", BYTES, false),
        ] {
            let found = of(Path::new(name));
            assert_eq!((found.as_str(), is_shown(&found)), (kind, shown), "{name}");
        }
    }
}
