//! `DELETE`, `MOVE` and `MKCOL`: the last two as WebDAV has them.

use hyper::body::{Body, Incoming};
use hyper::http::{StatusCode, header};
use nix::errno::Errno;
use pid1_sdk::workspace::{Cause, FileError, Kind};

use super::conditions::Conditions;
use super::path::destination;
use super::refusal::Refusal;
use super::{Visit, headers};
use crate::door::guard::only;
use crate::door::http::Answer;

/// Removes a file or link; a folder with all that is in it, if its URL ends with a slash.
pub(super) async fn delete(visit: Visit) -> Result<Answer, Refusal> {
    let (wanted, conditions) = (visit.wanted.clone(), Conditions::of(&visit.headers));
    let removed = visit.long_files(move |workspace| {
        let mut refused = None;
        let removed = workspace.remove_if(&wanted.path, |there| {
            refused = match (there.kind == Kind::Folder, wanted.folder) {
                (true, false) => Some(Refusal::of(
                    StatusCode::CONFLICT,
                    "it is a folder: end the URL with a slash to remove it with all that is in it",
                )),
                (false, true) => {
                    Some(Refusal::of(StatusCode::CONFLICT, "it is no folder: leave out the last slash"))
                }
                _ => conditions.check_change(Some(there)).err(),
            };
            if refused.is_some() { Err(String::new()) } else { Ok(()) }
        });
        refused.map_or_else(|| removed.map(Ok), |refused| Ok(Err(refused)))
    });
    removed.await??;
    Ok(headers::empty(StatusCode::NO_CONTENT))
}

/// Gives a file or folder another name. What has that name is replaced, unless `Overwrite: F`; a folder only if it is
/// empty.
pub(super) async fn rename(visit: Visit) -> Result<Answer, Refusal> {
    let to = destination(&visit.headers)?;
    let overwrite = match only(&visit.headers, "overwrite") {
        Some("F" | "f") => false,
        None | Some("T" | "t") => true,
        Some(_) => return Err(Refusal::of(StatusCode::BAD_REQUEST, "the header Overwrite is T or F")),
    };
    let (from, conditions) = (visit.wanted.clone(), Conditions::of(&visit.headers));
    let paths = (from.path.clone(), to.path.clone());
    let moved = visit.files(move |workspace| {
        let there = workspace.stat(&from.path)?;
        let source = there.as_ref().ok_or_else(|| FileError::new("rename", &from.path, Errno::ENOENT))?;
        if let Err(refused) = conditions.check_change(Some(source)) {
            return Ok(Err(refused));
        }
        let as_folder = [&from, &to].iter().any(|wanted| wanted.folder && !wanted.is_root());
        if as_folder && source.kind != Kind::Folder {
            return Err(FileError::new("rename", &from.path, Errno::ENOTDIR));
        }
        let existed = workspace.stat(&to.path)?.is_some();
        let moved = if overwrite {
            workspace.rename(&from.path, &to.path)
        } else {
            workspace.rename_new(&from.path, &to.path)
        };
        match moved {
            Err(error) if error.is_across() => Ok(Ok((existed, true))),
            done => Ok(outcome(done, overwrite)?.map(|()| (existed, false))),
        }
    });
    let (existed, is_across) = moved.await??;
    if is_across {
        let copied = visit.long_files(move |workspace| {
            outcome(workspace.move_across(&paths.0, &paths.1, overwrite), overwrite)
        });
        copied.await??;
    }
    Ok(headers::empty(if existed { StatusCode::NO_CONTENT } else { StatusCode::CREATED }))
}

/// What has come of a move of something that was there.
fn outcome(moved: Result<(), FileError>, overwrite: bool) -> Result<Result<(), Refusal>, FileError> {
    match moved {
        Err(FileError { cause: Cause::System(Errno::EEXIST), .. }) if !overwrite => {
            let text = "Overwrite: F does not hold: something has that name already";
            Ok(Err(Refusal::of(StatusCode::PRECONDITION_FAILED, text)))
        }
        Err(error) if error.is_not_found() => Ok(Err(no_parent(&error))),
        done => done.map(Ok),
    }
}

/// Makes a folder in one that is there.
pub(super) async fn make_folder(visit: Visit, body: &Incoming) -> Result<Answer, Refusal> {
    if !body.is_end_stream() || visit.headers.contains_key(header::CONTENT_TYPE) {
        let text = "MKCOL makes an empty folder: send no body";
        return Err(Refusal::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let (wanted, conditions) = (visit.wanted.clone(), Conditions::of(&visit.headers));
    let made = visit.files(move |workspace| {
        if workspace.stat(&wanted.path)?.is_some() {
            let text = "something has that name already";
            return Ok(Err(Refusal::of(StatusCode::METHOD_NOT_ALLOWED, text)));
        }
        if let Err(refused) = conditions.check_change(None) {
            return Ok(Err(refused));
        }
        if workspace.stat(&wanted.parent())?.is_none() {
            return Ok(Err(no_parent(&FileError::new("mkdir", &wanted.path, Errno::ENOENT))));
        }
        workspace.make_folder(&wanted.path).map(Ok)
    });
    made.await??;
    Ok(headers::empty(StatusCode::CREATED))
}

/// The thing is there, but not the folder that it is to be in.
fn no_parent(error: &FileError) -> Refusal {
    Refusal::of(
        StatusCode::CONFLICT,
        format!("{error}: make the folder that it is to be in first, with MKCOL"),
    )
}
