//! URLs of files that carry their own permission, for whoever cannot show a token: a page's image, a download, an upload
//! from elsewhere.
//!
//! Such a URL is good for one method on one path, for a while and no longer than the token of whoever asked for it, with
//! his role. That is checked when it is used, and so are the path and what the role may do then. The key is made at each start of the agent, so none
//! outlives it. It has no host: an agent does not know by what name, or through which proxy, its clients reach it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha2::Sha256;

use crate::api::{File, FileAuthMethod, FileAuthReq, FileAuthRes};
use crate::identity::{Identity, Right};
use crate::limits;
use crate::workspace::path_from_wire;

/// What may stand in a URL's path as it is. The slash separates names.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What is signed begins with this, so that no signature of anything else is one of a URL.
const PURPOSE: &[u8] = b"pid1 file url\n";

/// Where a file is found over HTTP.
pub const PREFIX: &str = "/files/";

/// Signs URLs of files, and knows its signatures again.
pub struct FileUrls {
    key: [u8; 32],
}

/// Why a URL gives no permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is not as it was signed, or not by this agent since its last start.
    #[error(
        "the URL's signature does not fit: it is good only as it was given, and until the agent is started anew"
    )]
    Forged,
    /// Its time is over.
    #[error("the URL has expired: ask for a new one")]
    Expired,
}

impl FileUrls {
    /// With a key that nobody else knows.
    pub fn new(key: [u8; 32]) -> Self {
        FileUrls { key }
    }

    /// Answers a `fileAuthReq` of `asker`, for the workspace at `root`. What cannot be signed has its reason in the
    /// answer.
    pub fn answer(&self, root: &Path, request: FileAuthReq, asker: &Identity) -> FileAuthRes {
        let role = asker.role;
        let (method, known) = (request.method(), FileAuthMethod::try_from(request.method).is_ok());
        let file = File { path: request.file.map(|file| file.path).unwrap_or_default(), ..File::default() };
        let path = path_from_wire(&file.path);
        let longest = SystemTime::now() + limits::FILE_URL_LIFETIME;
        let expires = asker.expires.map_or(longest, |end| end.min(longest));
        let signed = match right_of(method) {
            // It would be taken for the first of them.
            _ if !known => Err("URLs are signed for GET, HEAD, PUT and DELETE".to_owned()),
            needed if !role.may(needed) => Err(format!(
                "{} needs the role {}, and this session has the role {role}",
                method.as_str_name(),
                needed.lowest_role()
            )),
            _ => path
                .ok_or_else(|| "file name too long".to_owned())
                .and_then(|path| plain(root, &path))
                .map(|path| self.sign(method, &path, expires, asker)),
        };
        let mut answer = FileAuthRes { file: Some(file), method: method.into(), ..FileAuthRes::default() };
        match signed {
            Ok(url) => (answer.url, answer.expire) = (url, seconds(expires).cast_signed()),
            Err(error) => answer.error = error,
        }
        answer
    }

    fn sign(&self, method: FileAuthMethod, path: &Path, expires: SystemTime, asker: &Identity) -> String {
        let (method, expires, role, by) = (
            method.as_str_name(),
            seconds(expires).to_string(),
            asker.role.to_string(),
            asker.client.to_string(),
        );
        let path = path.as_os_str().as_bytes();
        let signature = self.mac([method, &expires, &role, &by], path).finalize().into_bytes();
        format!(
            "{PREFIX}{}?method={method}&expire={expires}&role={role}&by={by}&signature={}",
            percent_encode(path, PLAIN),
            BASE64URL_NOPAD.encode(&signature)
        )
    }

    /// As whom somebody may use `method` on `path`, from the root and decoded, who shows `query`: without a name, but as the
    /// client who asked for the URL. `None` if that is no query of a signed URL at all.
    ///
    /// # Errors
    /// If it gives no permission.
    pub fn check(
        &self,
        method: &str,
        path: &Path,
        query: &str,
        now: SystemTime,
    ) -> Option<Result<Identity, Invalid>> {
        let field = |name: &str| {
            let fields = query.split('&').filter_map(|field| field.split_once('='));
            let mut values = fields.filter(|(key, _)| *key == name).map(|(_, value)| value);
            // Of two, one was not signed.
            values.next().filter(|_| values.next().is_none())
        };
        if !query.split('&').any(|field| field.starts_with("signature=")) {
            return None;
        }
        let check = || {
            let (expires, role, by) = (field("expire")?, field("role")?, field("by")?);
            let signature = BASE64URL_NOPAD.decode(field("signature")?.as_bytes()).ok()?;
            let known = self.mac([method, expires, role, by], path.as_os_str().as_bytes());
            known.verify_slice(&signature).ok()?;
            let asker = Identity { client: by.parse().ok()?, ..Identity::anonymous(role.parse().ok()?) };
            (field("method")? == method).then_some((expires.parse().ok()?, asker))
        };
        Some(match check() {
            None => Err(Invalid::Forged),
            Some((expires, _)) if seconds(now) >= expires => Err(Invalid::Expired),
            Some((_, asker)) => Ok(asker),
        })
    }

    fn mac(&self, fields: [&str; 4], path: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length will do");
        mac.update(PURPOSE);
        // None of these holds a line feed in what this agent signs; the path may hold anything, and comes last.
        for field in fields {
            mac.update(field.as_bytes());
            mac.update(b"\n");
        }
        mac.update(path);
        mac
    }
}

impl std::fmt::Debug for FileUrls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileUrls")
    }
}

/// What a method asks for.
fn right_of(method: FileAuthMethod) -> Right {
    match method {
        FileAuthMethod::Get | FileAuthMethod::Head => Right::Read,
        FileAuthMethod::Put | FileAuthMethod::Delete => Right::Write,
    }
}

/// `path` from the root, as a URL has it. Browsers and curl take `..` out of a URL before they send it, so there can be
/// none.
fn plain(root: &Path, path: &Path) -> Result<PathBuf, String> {
    let inner = if path.is_absolute() {
        path.strip_prefix(root).map_err(|_| "the path leads out of the workspace".to_owned())?
    } else {
        path
    };
    if inner.components().any(|part| part == Component::ParentDir) {
        return Err("a URL cannot hold `..`: give the path without it".to_owned());
    }
    let mut plain: PathBuf = inner.components().filter(|part| *part != Component::CurDir).collect();
    // A folder's slash means something over HTTP.
    if path.as_os_str().as_bytes().ends_with(b"/") && !plain.as_os_str().is_empty() {
        plain.push("");
    }
    Ok(plain)
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Role;

    fn ask(urls: &FileUrls, path: &str, method: FileAuthMethod, role: Role) -> FileAuthRes {
        let file = Some(File { path: path.to_owned(), ..File::default() });
        let asker = Identity { client: 5, ..Identity::anonymous(role) };
        urls.answer(Path::new("/home/me"), FileAuthReq { file, method: method.into() }, &asker)
    }

    #[test]
    fn a_url_is_good_for_what_it_says_and_nothing_else() {
        let (urls, now) = (FileUrls::new([7; 32]), SystemTime::now());
        let answer = ask(&urls, "/home/me/a b/\u{EFFF}?.txt", FileAuthMethod::Put, Role::Editor);
        assert_eq!(answer.error, "");
        let (path, query) = answer.url.split_once('?').unwrap();
        assert_eq!(path, "/files/a%20b/%FF%3F.txt");
        let file = Path::new(std::ffi::OsStr::from_bytes(b"a b/\xff?.txt"));
        let check = |urls: &FileUrls, method: &str, path: &Path, query: &str, now| {
            urls.check(method, path, query, now).unwrap().map(|asker| (asker.role, asker.client))
        };
        assert_eq!(check(&urls, "PUT", file, query, now), Ok((Role::Editor, 5)));
        assert_eq!(check(&urls, "GET", file, query, now), Err(Invalid::Forged));
        assert_eq!(check(&urls, "PUT", Path::new("a b"), query, now), Err(Invalid::Forged));
        assert_eq!(check(&FileUrls::new([8; 32]), "PUT", file, query, now), Err(Invalid::Forged));
        for (from, to) in [
            ("role=editor", "role=owner"),
            ("method=PUT", "method=GET"),
            ("expire=", "expire=1"),
            ("expire=", "expire=9&expire="),
            ("signature=", "signature=A"),
            ("role=editor&", ""),
            ("by=5", "by=6"),
            ("by=5&", ""),
        ] {
            assert!(query.contains(from));
            let other = query.replace(from, to);
            assert_eq!(check(&urls, "PUT", file, &other, now), Err(Invalid::Forged), "{other}");
        }
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(answer.expire as u64);
        assert!(late <= now + limits::FILE_URL_LIFETIME);
        assert_eq!(check(&urls, "PUT", file, query, late), Err(Invalid::Expired));
        assert_eq!(urls.check("PUT", file, "x=y", now), None);
        assert!(!format!("{urls:?}").contains('7'));
    }

    #[test]
    fn a_url_ends_with_the_token_of_whoever_asked() {
        let urls = FileUrls::new([7; 32]);
        for (left, lifetime) in [
            (Duration::from_secs(60), Duration::from_secs(60)),
            (limits::FILE_URL_LIFETIME * 2, limits::FILE_URL_LIFETIME),
        ] {
            let now = SystemTime::now();
            let asker = Identity { expires: Some(now + left), ..Identity::anonymous(Role::Viewer) };
            let answer = urls.answer(Path::new("/"), FileAuthReq::default(), &asker);
            let latest = seconds(now + lifetime);
            assert!((latest..latest + 30).contains(&answer.expire.cast_unsigned()), "{answer:?}");
            let query = answer.url.split_once('?').unwrap().1;
            let end = SystemTime::UNIX_EPOCH + Duration::from_secs(answer.expire.cast_unsigned());
            assert_eq!(urls.check("GET", Path::new(""), query, end), Some(Err(Invalid::Expired)));
        }
    }

    #[test]
    fn what_cannot_be_signed_says_why() {
        let urls = FileUrls::new([7; 32]);
        for (path, method, role, why) in [
            ("a", FileAuthMethod::Put, Role::Viewer, "PUT needs the role editor"),
            ("a", FileAuthMethod::Delete, Role::Viewer, "DELETE needs the role editor"),
            ("/etc/passwd", FileAuthMethod::Get, Role::Owner, "leads out of the workspace"),
            ("a/../b", FileAuthMethod::Get, Role::Owner, "`..`"),
        ] {
            let answer = ask(&urls, path, method, role);
            assert!(answer.error.contains(why), "{path}: {answer:?}");
            assert_eq!((answer.url.as_str(), answer.expire), ("", 0));
        }
        let owner = Identity::anonymous(Role::Owner);
        let unknown = urls.answer(Path::new("/"), FileAuthReq { file: None, method: 9 }, &owner);
        assert!(unknown.url.is_empty() && unknown.error.contains("GET, HEAD"), "{unknown:?}");
        for (path, url) in
            [("./a//b", "/files/a/b?"), ("", "/files/?"), ("/home/me", "/files/?"), ("a/", "/files/a/?")]
        {
            let answer = ask(&urls, path, FileAuthMethod::Head, Role::Viewer);
            assert!(answer.url.starts_with(url), "{path}: {answer:?}");
        }
    }
}
