//! A workspace's inbox, for files of people: those of platforms, and those that come through the admin socket.

use std::error::Error;
use std::io::{self, ErrorKind, Read};

use cofferdam_protocol::ids::Folder;
use rustix::io::Errno;

use crate::config::home::Home;
use crate::files::beneath::OpenError;
use crate::files::inbox::{self, Inbox};
use crate::files::is_image;
use crate::model::chat::Attachment;
use crate::sandbox::mounts::{self, PrepareError};

/// Why there is no inbox to put a file into.
#[derive(Debug, thiserror::Error)]
pub enum NoInbox {
    /// The group has no workspace that could be made or used.
    #[error(transparent)]
    Workspace(#[from] PrepareError),
    /// Its folder for files cannot be made or opened.
    #[error(transparent)]
    Folder(#[from] OpenError),
}

/// Why a file is not placed, in words for the agent; none: the host's disk or memory is the trouble, which passes. All else, such as
/// what the agent has put in the way, would be the same at each try.
pub(super) fn for_good(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    let io = std::iter::from_fn(|| {
        let error = cause?;
        cause = error.source();
        Some(error)
    })
    .find_map(|error| error.downcast_ref::<io::Error>());
    match io {
        Some(error) if is_the_hosts(error) => None,
        // No more than that: an error's own words may have paths of the host.
        Some(error) => Some(format!("the workspace's inbox does not take it ({})", error.kind())),
        None => Some("the workspace's inbox cannot be opened".to_owned()),
    }
}

fn is_the_hosts(error: &io::Error) -> bool {
    let disk = matches!(
        Errno::from_io_error(error),
        Some(Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::ROFS | Errno::MFILE | Errno::NFILE | Errno::NOMEM)
    );
    disk || matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem
    )
}

/// Opens a group's inbox; makes it, and the workspace, if need be. Blocks on the disk.
pub fn open(home: &Home, folder: &Folder) -> Result<Inbox, NoInbox> {
    let user = mounts::container_user();
    let workspace = mounts::own_workspace(home, folder, user)?;
    Ok(Inbox::open(&workspace, (user.uid, user.gid))?)
}

/// Puts a file there as `PREFIX-NAME`, over one of that name; `name` is safe. Blocks on the disk.
pub fn put(inbox: &Inbox, prefix: &str, name: String, from: &mut impl Read) -> io::Result<Attachment> {
    let path = format!("{prefix}-{name}");
    let (bytes, head) = inbox.put(&path, from)?;
    Ok(Attachment { name, path: format!("{}/{path}", inbox::NAME), bytes, image: is_image(&head, bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hosts_own_trouble_is_waited_for() {
        let of = |errno: Errno| io::Error::from(errno);
        let within =
            |errno: Errno| NoInbox::Workspace(PrepareError::File { path: "/host".into(), source: of(errno) });
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::ROFS, Errno::NFILE] {
            assert_eq!(for_good(&of(errno)), None, "{errno}");
            assert_eq!(for_good(&within(errno)), None, "{errno}");
            assert_eq!(for_good(&NoInbox::Folder(OpenError::Io(of(errno)))), None, "{errno}");
        }
        for errno in [Errno::ACCESS, Errno::ISDIR, Errno::NOTEMPTY, Errno::PERM] {
            assert!(for_good(&of(errno)).is_some(), "{errno}");
            let words = for_good(&within(errno)).unwrap();
            assert!(!words.contains("/host"), "{words}");
        }
        assert!(for_good(&NoInbox::Folder(OpenError::Link)).is_some());
    }
}
