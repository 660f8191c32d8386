//! From a request's path to a path in the workspace.
//!
//! What stands behind `/files/` is a path from the root, each `%XX` in it one byte, so that every name can be written. A
//! slash at the end says that a folder is meant. `..` is left to the workspace, which lets nobody out.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use hyper::http::uri::Uri;
use hyper::http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode_str;
use pid1_sdk::file_url::PREFIX;

use super::refusal::Refusal;
use crate::door::guard::only;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// From the root; empty for the root itself.
    pub(super) path: PathBuf,
    /// The URL ended with a slash, or names the root.
    pub(super) folder: bool,
}

impl Wanted {
    /// As a signed URL has it.
    pub(super) fn signed(&self) -> PathBuf {
        if self.folder && !self.path.as_os_str().is_empty() { self.path.join("") } else { self.path.clone() }
    }

    /// Whether it is the workspace itself.
    pub(super) fn is_root(&self) -> bool {
        self.path.as_os_str().is_empty()
    }

    /// The folder that it is in.
    pub(super) fn parent(&self) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).to_owned()
    }
}

pub(super) fn decode(uri: &Uri) -> Result<Wanted, Refusal> {
    decode_text(uri.path())
}

fn decode_text(path: &str) -> Result<Wanted, Refusal> {
    let bad = |text: &str| Refusal::of(StatusCode::BAD_REQUEST, text);
    // Without a slash it is the root.
    let inner = path.strip_prefix(PREFIX).unwrap_or_default();
    let is_escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if !inner.split('%').skip(1).all(is_escape) {
        return Err(bad(
            "the path has a % without two hexadecimal digits: write %25 for the character itself",
        ));
    }
    let bytes: Vec<u8> = percent_decode_str(inner).collect();
    if bytes.contains(&0) {
        return Err(bad("the path holds %00, which no name can"));
    }
    let from = bytes.iter().take_while(|byte| **byte == b'/').count();
    let to = bytes.len() - bytes[from..].iter().rev().take_while(|byte| **byte == b'/').count();
    let folder = to < bytes.len() || from == to;
    Ok(Wanted { path: OsString::from_vec(bytes[from..to].to_vec()).into(), folder })
}

/// Where `MOVE` is to put it: the `Destination`, which names this agent as the request does, or is only a path.
pub(super) fn destination(headers: &HeaderMap) -> Result<Wanted, Refusal> {
    let bad = |text: &str| Refusal::of(StatusCode::BAD_REQUEST, text);
    let value = only(headers, "destination")
        .ok_or_else(|| bad("MOVE needs one header Destination, such as Destination: /files/new/name"))?;
    // A word alone is read as a host.
    let is_place = |uri: &Uri| uri.scheme().is_some() || uri.authority().is_none();
    let uri = value.parse().ok().filter(is_place);
    let uri = uri.ok_or_else(|| bad("the header Destination is no URL, nor a path"))?;
    let here = only(headers, header::HOST).unwrap_or_default();
    if uri.authority().is_some_and(|there| !there.as_str().eq_ignore_ascii_case(here)) {
        let text = "the header Destination names another host: nothing is moved out of this agent";
        return Err(Refusal::of(StatusCode::BAD_GATEWAY, text));
    }
    if !uri.path().starts_with(PREFIX) {
        return Err(bad("the header Destination must name a file: /files/PATH"));
    }
    decode(&uri)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn every_name_can_be_written() {
        for (url, path, folder) in [
            ("/files/a/b.txt", &b"a/b.txt"[..], false),
            ("/files/a%20b+c%2Fd", b"a b+c/d", false),
            ("/files/caf%e9-%FF", b"caf\xe9-\xff", false),
            ("/files/100%25", b"100%", false),
            ("/files/a/", b"a", true),
            ("/files/a%2f%2F", b"a", true),
            ("/files//etc/passwd", b"etc/passwd", false),
            ("/files/%2e%2e/x", b"../x", false),
            ("/files", b"", true),
            ("/files/", b"", true),
            ("/files///", b"", true),
        ] {
            let wanted = decode_text(url).ok().unwrap();
            assert_eq!((wanted.path.as_os_str().as_bytes(), wanted.folder), (path, folder), "{url}");
        }
        for url in ["/files/%", "/files/%2", "/files/%zz", "/files/a%+1b", "/files/a%00b"] {
            assert!(decode_text(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_destination_is_here() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "box:4560".parse().unwrap());
            headers.insert("destination", value.parse().unwrap());
            destination(&headers)
                .map(|wanted| wanted.path)
                .map_err(|refusal| refusal.into_answer().status().as_u16())
        };
        assert_eq!(of("/files/a%20b"), Ok("a b".into()));
        assert_eq!(of("http://BOX:4560/files/x/"), Ok("x".into()));
        assert_eq!(of("https://box:4560/files/x"), Ok("x".into()));
        assert_eq!(of("http://other/files/x"), Err(502));
        for bad in ["", "x", "/else", "/files", "/filesx/a", "http://box:4560"] {
            assert_eq!(of(bad), Err(400), "{bad}");
        }
    }
}
