//! Programs that run as somebody else, or that may gain no rights: started through the agent's own binary.
//!
//! No code of ours runs between `posix_spawn` and the program, so nothing there could change the user. Such a program is
//! started as `pid1 launch FD` instead: the same binary, in the place where the program shall be (its pid, session,
//! terminal, folder, descriptors), but with the agent's rights and an empty environment, as variables such as LD_PRELOAD
//! act on whoever has them. In the file FD are its orders, which it carries out, to execute the program at last. Both
//! sides stand here.
//!
//! What it deliberately does not do: give anybody a right that whoever starts it does not have.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, execve, fchown, getegid, geteuid, setgroups, setresgid, setresuid};
use rustix::fs::FileType;

use super::account::Account;
use super::error::{LaunchError, StartError};
use super::spawn;
use super::spec::Spec;
use super::start::{Prepared, terminated};

/// What the file with the orders is called.
const FILE: &CStr = c"pid1-orders";

/// How /proc shows it.
const FILE_LINK: &[u8] = b"/memfd:pid1-orders";

/// What the launcher is to do.
#[derive(Debug, PartialEq, Eq)]
struct Orders {
    /// Whom to become; `None` to stay who it is.
    ids: Option<Ids>,
    no_new_privs: bool,
    /// The same for people.
    how: String,
    program: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

#[derive(Debug, PartialEq, Eq)]
struct Ids {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

/// Makes `prepared` the start of the launcher, if `spec` asks for what the system's own call cannot do.
///
/// # Errors
/// If there is no launcher, it cannot be told, or we may not change users.
pub(super) fn through(
    launcher: Option<&Path>,
    spec: &Spec,
    prepared: Prepared,
) -> Result<Prepared, StartError> {
    let account = spec.account.as_ref().filter(|account| !is_ours(account));
    if account.is_none() && !spec.no_new_privs {
        return Ok(prepared);
    }
    if let Some(account) = account.filter(|_| !geteuid().is_root()) {
        let (user, own) = (account.to_string(), geteuid().as_raw());
        return Err(StartError::NotRoot { program: prepared.name, user, own });
    }
    let Some(launcher) = launcher else { return Err(StartError::NoLauncher { program: prepared.name }) };
    let orders = Orders {
        ids: account.map(|account| Ids {
            uid: account.uid,
            gid: account.gid,
            groups: account.groups.clone(),
        }),
        no_new_privs: spec.no_new_privs,
        how: account.map_or_else(|| "with no_new_privs".to_owned(), |account| format!("as {account}")),
        program: prepared.program,
        args: prepared.args,
        env: prepared.env,
    };
    let file = orders
        .written()
        .map_err(|source| StartError::System { step: "write orders for its launcher", source })?;
    let is_free = |number: &i32| spec.fds.iter().all(|(_, to)| to != number);
    let number = (3..).find(is_free).expect("there are more numbers than descriptors");
    let word = |text: &str| terminated("the launcher", &[OsStr::new(text)]);
    Ok(Prepared {
        program: terminated("the launcher", &[launcher.as_os_str()])?,
        args: vec![word("pid1")?, word("launch")?, word(&number.to_string())?],
        env: Vec::new(),
        orders: Some((file.into(), number)),
        ..prepared
    })
}

/// Whether it is who we are, as far as anybody but root could change it.
fn is_ours(account: &Account) -> bool {
    let (uid, gid) = (geteuid(), getegid());
    !uid.is_root() && (account.uid, account.gid) == (uid.as_raw(), gid.as_raw())
}

/// The launcher: executes the program that the file with this number orders. Returns only if that fails.
///
/// For the binary that a table has as its launcher, before it has opened anything or started a thread: the C library
/// would have to stop those to change the user, and whatever is open would be the program's.
pub fn carry_out(fd: Option<&OsStr>) -> LaunchError {
    match fd.and_then(Orders::taken) {
        Some(orders) => orders.carry_out(),
        None => LaunchError::NoOrders,
    }
}

impl Orders {
    /// In a file that only our own descriptor leads to.
    fn written(&self) -> io::Result<File> {
        let mut file = File::from(memfd_create(FILE, MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&self.encoded())?;
        Ok(file)
    }

    /// From the inherited file of this number, which is closed.
    fn taken(fd: &OsStr) -> Option<Self> {
        let fd: i32 = fd.to_str()?.parse().ok()?;
        let path = format!("/proc/self/fd/{fd}");
        let target = fs::read_link(&path).ok()?;
        if !target.as_os_str().as_bytes().starts_with(FILE_LINK) {
            return None;
        }
        let bytes = fs::read(path).ok()?;
        // The program must not have it.
        nix::unistd::close(fd).ok()?;
        Self::decoded(&bytes)
    }

    /// Entries that each end with a NUL: numbers with blanks between them, `how`, the program, its arguments, its
    /// environment. The numbers are how many arguments there are, whether rights can be gained (1: no), and if the user
    /// changes, its number, its group's and those of its further groups.
    fn encoded(&self) -> Vec<u8> {
        let mut numbers = vec![self.args.len().to_string(), u8::from(self.no_new_privs).to_string()];
        if let Some(Ids { uid, gid, groups }) = &self.ids {
            numbers.extend([uid, gid].into_iter().chain(groups).map(u32::to_string));
        }
        let mut bytes = numbers.join(" ").into_bytes();
        bytes.push(0);
        bytes.extend_from_slice(self.how.as_bytes());
        bytes.push(0);
        for text in [&self.program].into_iter().chain(&self.args).chain(&self.env) {
            bytes.extend_from_slice(text.to_bytes_with_nul());
        }
        bytes
    }

    /// `None` if these are no orders, or not all of them.
    fn decoded(bytes: &[u8]) -> Option<Self> {
        let mut entries = bytes.strip_suffix(b"\0")?.split(|byte| *byte == 0);
        let mut numbers = std::str::from_utf8(entries.next()?).ok()?.split(' ').map(str::parse::<u32>);
        let count = usize::try_from(numbers.next()?.ok()?).ok()?;
        let no_new_privs = numbers.next()?.ok()? == 1;
        let ids = match numbers.next() {
            None => None,
            Some(uid) => Some(Ids {
                uid: uid.ok()?,
                gid: numbers.next()?.ok()?,
                groups: numbers.collect::<Result<_, _>>().ok()?,
            }),
        };
        let how = String::from_utf8(entries.next()?.to_vec()).ok()?;
        let mut texts = entries.map(|entry| CString::new(entry).ok());
        let program = texts.next()??;
        let args: Vec<_> = texts.by_ref().take(count).collect::<Option<_>>()?;
        let env = texts.collect::<Option<_>>()?;
        (args.len() == count).then_some(Self { ids, no_new_privs, how, program, args, env })
    }

    fn carry_out(self) -> LaunchError {
        let program = || self.program.to_string_lossy().into_owned();
        if let Err((step, reason)) = self.become_it() {
            return LaunchError::Rights { program: program(), how: self.how, step, reason };
        }
        let Err(reason) = execve(&self.program, &self.args, &self.env);
        LaunchError::Program { program: program(), how: self.how, reason }
    }

    /// Everything but the program itself. What fails is named with what the system said.
    fn become_it(&self) -> Result<(), (&'static str, Errno)> {
        let named = |step| move |reason| (step, reason);
        if let Some(Ids { uid, gid, groups }) = &self.ids {
            let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
            for stdio in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
                hand_over(stdio, uid);
            }
            // The user goes last: with it goes the right to change the others.
            let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
            setgroups(&groups).map_err(named("setgroups"))?;
            setresgid(gid, gid, gid).map_err(named("setresgid"))?;
            setresuid(uid, uid, uid).map_err(named("setresuid"))?;
        }
        if self.no_new_privs {
            prctl::set_no_new_privs().map_err(named("PR_SET_NO_NEW_PRIVS"))?;
        }
        // The Rust runtime has ignored it at our start, and the program would inherit that.
        spawn::default_action(Signal::SIGPIPE).map_err(named("the default action of SIGPIPE"))
    }
}

/// Makes a pipe or a terminal the user's, as who has an inherited descriptor may use that, but not open it again by its
/// path, such as /dev/stdout. Both were made for this program; anything else belongs to somebody.
fn hand_over(stdio: BorrowedFd<'_>, uid: Uid) {
    let is_pipe =
        rustix::fs::fstat(stdio).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    if is_pipe || rustix::termios::isatty(stdio) {
        // Without the right to, the descriptor itself works as ever.
        let _ = fchown(stdio, Some(uid), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(ids: Option<Ids>, args: &[&CStr], env: &[&CStr]) -> Orders {
        let owned = |texts: &[&CStr]| texts.iter().map(|&text| text.to_owned()).collect();
        let program = c"/bin/\xff".to_owned();
        Orders {
            no_new_privs: ids.is_none(),
            ids,
            how: "as x".into(),
            program,
            args: owned(args),
            env: owned(env),
        }
    }

    fn some_orders() -> [Orders; 4] {
        let ids = |groups: &[u32]| Some(Ids { uid: 1000, gid: 0, groups: groups.to_vec() });
        [
            orders(None, &[c"a"], &[]),
            orders(ids(&[]), &[], &[]),
            orders(ids(&[7]), &[c"", c"\xfe", c""], &[c"", c"A=\xfd\n", c"B="]),
            orders(ids(&[1, 2, 3]), &[c""], &[c""]),
        ]
    }

    #[test]
    fn orders_arrive_as_they_were_given() {
        for orders in some_orders() {
            assert_eq!(Orders::decoded(&orders.encoded()).as_ref(), Some(&orders));
        }
    }

    #[test]
    fn what_is_not_whole_is_no_order() {
        for orders in some_orders() {
            let bytes = orders.encoded();
            for end in 0..bytes.len() {
                // Cut behind an entry of the environment, it is another's orders; the file is written in one go.
                if let Some(other) = Orders::decoded(&bytes[..end]) {
                    assert_eq!(other.args, orders.args);
                    assert!(other.env.len() < orders.env.len());
                }
            }
        }
        for bytes in [
            &b""[..],
            b"\0",
            b"0\0x\0/p\0",
            b"1 0\0x\0/p\0",
            b"0 0 1\0x\0/p\0",
            b"0 0 1 2 \0x\0/p\0",
            b"0 0 1 -1\0x\0/p\0",
            b"0 0 1 2 4294967296\0x\0/p\0",
            b"a 0\0x\0/p\0",
            b"0 0\0\xff\0/p\0",
        ] {
            assert_eq!(Orders::decoded(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn only_a_file_of_orders_is_one() {
        use std::os::fd::AsRawFd;
        let other = File::from(memfd_create(c"other", MFdFlags::MFD_CLOEXEC).unwrap());
        for fd in ["", "x", "-1", "0", "1", "2", "999999", &other.as_raw_fd().to_string()] {
            assert_eq!(Orders::taken(OsStr::new(fd)), None, "{fd}");
        }
        let orders = &some_orders()[2];
        let file = orders.written().unwrap();
        // A number that nobody else closes.
        let copy = rustix::io::fcntl_dupfd_cloexec(&file, 200).unwrap();
        let number = std::os::fd::IntoRawFd::into_raw_fd(copy);
        assert_eq!(Orders::taken(OsStr::new(&number.to_string())).as_ref(), Some(orders));
        assert_eq!(Orders::taken(OsStr::new(&number.to_string())), None, "it is closed");
        assert_eq!(carry_out(None).status(), 1);
    }
}
