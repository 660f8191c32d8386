//! Who a program runs as: a user with its groups, found from a text as docker's `--user` takes it.
//!
//! /etc/passwd and /etc/group are read here and not by the C library, which would load name service libraries of the
//! image into a static binary. What it deliberately does not do: become that user; ask anybody else for users.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::error::printable;
use crate::limits::ACCOUNT_FILE_BYTES;

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// The home of whoever has none.
const NO_HOME: &[u8] = b"/";

/// A user, and what a program of its has besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub uid: u32,
    /// That of its group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Its home; it may not be there.
    pub home: PathBuf,
    /// Its name; a number may have none.
    pub name: Option<OsString>,
}

/// Why nobody was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The text names no user.
    #[error("{user:?} names no user: give NAME, UID, NAME:GROUP or UID:GID")]
    Empty {
        /// The whole text.
        user: String,
    },
    /// The name of a user who is not there.
    #[error("there is no user {user:?} in {USERS}: add it there, or give a number instead")]
    NoUser {
        /// The name.
        user: String,
    },
    /// The name of a group that is not there.
    #[error("there is no group {group:?} in {GROUPS}: add it there, or give a number instead")]
    NoGroup {
        /// The name.
        group: String,
    },
    /// Digits that are no number of a user or group.
    #[error("{digits} is no number of a user or group: the largest is {}", u32::MAX - 1)]
    Number {
        /// The digits.
        digits: String,
    },
    /// One of the two files is there and cannot be read.
    #[error("cannot look up the user {user:?} in {file}: {source}; make that a file that the agent can read")]
    File {
        /// The whole text.
        user: String,
        /// Which file.
        file: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Account {
    /// The account that `user` names: `NAME` or `UID`, with `:GROUP` or `:GID` behind it.
    ///
    /// With a group named, that is its only one. A number that is in no file stands for itself.
    ///
    /// # Errors
    /// See `AccountError`.
    pub fn find(user: &str) -> Result<Self, AccountError> {
        let read = |file| {
            contents(file).map_err(|source| AccountError::File { user: user.to_owned(), file, source })
        };
        Self::within(user, &read(USERS)?, &read(GROUPS)?)
    }

    fn within(text: &str, users: &[u8], groups: &[u8]) -> Result<Self, AccountError> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() {
            return Err(AccountError::Empty { user: text.to_owned() });
        }
        // All digits are a number, even if somebody has them for a name.
        let number = number_of(user)?;
        let known = entries(users).find_map(|entry| {
            let known = User::of(entry)?;
            number.map_or(known.name == user.as_bytes(), |uid| known.uid == uid).then_some(known)
        });
        let mut account = match (known, number) {
            (Some(known), _) => known.account(),
            (None, Some(uid)) => Account { uid, gid: 0, groups: Vec::new(), home: path(NO_HOME), name: None },
            (None, None) => return Err(AccountError::NoUser { user: user.to_owned() }),
        };
        let mut groups = entries(groups).filter_map(Group::of);
        match (group, &account.name) {
            ("", Some(name)) => {
                let member = |group: Group<'_>| group.has(name.as_bytes()).then_some(group.gid);
                account.groups = groups.filter_map(member).collect();
            }
            ("", None) => {}
            (group, _) => {
                account.gid = match number_of(group)? {
                    Some(gid) => gid,
                    None => {
                        let known = groups.find(|known| known.name == group.as_bytes());
                        known.ok_or_else(|| AccountError::NoGroup { group: group.to_owned() })?.gid
                    }
                };
            }
        }
        Ok(account)
    }

    /// The variables that say who one is. A number without a name has only the first.
    pub(crate) fn variables(&self) -> [(&'static str, Option<&OsStr>); 3] {
        let name = self.name.as_deref();
        [("HOME", Some(self.home.as_os_str())), ("USER", name), ("LOGNAME", name)]
    }
}

/// For people.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} (uid {})", printable(&name.to_string_lossy()), self.uid),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

/// A line of passwd: `name:password:uid:gid:comment:home:shell`.
struct User<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

impl<'a> User<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let (uid, gid) = (id(fields.nth(1)?)?, id(fields.next()?)?);
        let home = fields.nth(1).filter(|home| !home.is_empty()).unwrap_or(NO_HOME);
        Some(User { name, uid, gid, home })
    }

    fn account(&self) -> Account {
        let name = Some(OsString::from_vec(self.name.to_vec()));
        Account { uid: self.uid, gid: self.gid, groups: Vec::new(), home: path(self.home), name }
    }
}

/// A line of group: `name:password:gid:members`.
struct Group<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

impl<'a> Group<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = id(fields.nth(1)?)?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    }

    fn has(&self, user: &[u8]) -> bool {
        self.members.split(|byte| *byte == b',').any(|member| member == user)
    }
}

fn entries(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.starts_with(b"#"))
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// The number that `text` is, if it is all digits.
fn number_of(text: &str) -> Result<Option<u32>, AccountError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    id(text.as_bytes()).map(Some).ok_or_else(|| AccountError::Number { digits: text.to_owned() })
}

/// A number of a user or group. The largest means "as before" to the system: taken for a user it would be root.
fn id(digits: &[u8]) -> Option<u32> {
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number != u32::MAX && digits.iter().all(u8::is_ascii_digit)).then_some(number)
}

/// What is in the file; one that is not there is empty, as in images that hold one program and nothing else.
fn contents(path: &str) -> io::Result<Vec<u8>> {
    // A pipe in its place would keep us waiting, and everybody with us.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    if file.take(ACCOUNT_FILE_BYTES + 1).read_to_end(&mut bytes)? as u64 > ACCOUNT_FILE_BYTES {
        return Err(io::Error::other(format!("it has more than {ACCOUNT_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        # bob:x:1:1::/commented:\n#eve:x:2:2::/:\n\nbad line\nworse:x:one:1::/:\nlast:x:4294967295:0::/:\n+::::::\n\
        \xff\xfe:x:70:71::/\xfd:/bin/sh\n bob:x:1000:1001:Bob:/home/bob:/bin/sh\r\n\
        twin:x:1000:9::/twin:\n4242:x:5:5::/five:\nshort:x:7:8\nhomeless:x:11:12:::\nnobody:x:65534:65534:::";
    const GROUP: &[u8] =
        b"root:x:0:bob,\xff\xfe\nbob:x:1001:\nbad:x:y:bob\nwheel:x:10:root,bob\nvideo:x:44:bobby,twin\n\
        \xfe:x:45:bob\nlast:x:4294967295:bob\n:x:46:bob\nplain:x:50\n";

    fn find(text: &str) -> Result<Account, AccountError> {
        Account::within(text, PASSWD, GROUP)
    }

    #[test]
    fn every_form_that_docker_takes() {
        let bob = [0, 10, 45];
        for (text, uid, gid, groups, home, name) in [
            ("bob", 1000, 1001, &bob[..], "/home/bob", Some("bob")),
            ("1000", 1000, 1001, &bob, "/home/bob", Some("bob")),
            ("bob:", 1000, 1001, &bob, "/home/bob", Some("bob")),
            // A group that is named is the only one.
            ("bob:wheel", 1000, 10, &[], "/home/bob", Some("bob")),
            ("bob:77", 1000, 77, &[], "/home/bob", Some("bob")),
            ("1000:video", 1000, 44, &[], "/home/bob", Some("bob")),
            ("twin", 1000, 9, &[44], "/twin", Some("twin")),
            // Digits are a number, whoever is called so.
            ("4242", 4242, 0, &[], "/", None),
            ("4242:4243", 4242, 4243, &[], "/", None),
            ("4242:wheel", 4242, 10, &[], "/", None),
            ("root", 0, 0, &[10], "/root", Some("root")),
            ("short", 7, 8, &[], "/", Some("short")),
            ("homeless", 11, 12, &[], "/", Some("homeless")),
            ("65534", 65534, 65534, &[], "/", Some("nobody")),
        ] {
            let groups = groups.to_vec();
            let name = name.map(OsString::from);
            assert_eq!(find(text).unwrap(), Account { uid, gid, groups, home: home.into(), name }, "{text}");
        }
    }

    #[test]
    fn a_name_that_is_no_text_does_no_harm() {
        let account = find("70").unwrap();
        assert_eq!((account.gid, &account.groups[..]), (71, &[0][..]));
        assert_eq!(account.home.as_os_str().as_bytes(), b"/\xfd");
        assert_eq!(account.to_string(), "\u{fffd}\u{fffd} (uid 70)");
    }

    #[test]
    fn who_is_not_there_is_said() {
        for (text, words) in [
            ("alice", "there is no user \"alice\" in /etc/passwd: add it there, or give a number instead"),
            ("eve", "no user \"eve\""),
            ("worse", "no user \"worse\""),
            ("last", "no user \"last\""),
            ("+", "no user \"+\""),
            ("+5", "no user \"+5\""),
            ("-1", "no user \"-1\""),
            ("a\nb", "no user \"a\\nb\""),
            ("bob:none", "there is no group \"none\" in /etc/group: add it there, or give a number instead"),
            ("bob:last", "no group \"last\""),
            ("bob:wheel:x", "no group \"wheel:x\""),
            ("4294967295", "4294967295 is no number of a user or group: the largest is 4294967294"),
            ("bob:4294967295", "4294967295 is no number"),
            ("99999999999999999999", "99999999999999999999 is no number"),
            ("", "\"\" names no user: give NAME"),
            (":wheel", "\":wheel\" names no user"),
        ] {
            let said = find(text).unwrap_err().to_string();
            assert!(said.contains(words), "{text:?}: {said}");
        }
    }

    #[test]
    fn without_files_numbers_stand_for_themselves() {
        let account = Account::within("7:8", b"", b"").unwrap();
        assert_eq!((account.uid, account.gid, account.to_string().as_str()), (7, 8, "uid 7"));
        assert!(Account::within("root", b"", b"").is_err());
    }

    #[test]
    fn only_a_file_of_some_size_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let named = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        assert_eq!(contents(&named("none")).unwrap(), b"");
        nix::unistd::mkfifo(named("pipe").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(contents(&named("pipe")).unwrap_err().to_string().contains("no regular file"));
        let large = std::fs::File::create(named("large")).unwrap();
        large.set_len(ACCOUNT_FILE_BYTES + 1).unwrap();
        assert!(contents(&named("large")).unwrap_err().to_string().contains("more than"));
        large.set_len(ACCOUNT_FILE_BYTES).unwrap();
        assert_eq!(contents(&named("large")).unwrap().len() as u64, ACCOUNT_FILE_BYTES);
    }
}
