//! How much of the host's memory the bodies of model calls may take at once. Who finds no room waits, in order.
//!
//! ```text
//! each session   4 MiB of its own: a call that fits in there never waits for anybody else
//! each group    64 MiB of what all share: as much as the largest call
//! all          256 MiB
//! ```
//!
//! So with the default of 8 sessions bodies take at most 288 MiB: 256, and 8 times 4. A body of unknown length may take as
//! much again for a moment, while it grows. A door lets in four calls of a session at once, so no more than that wait.

use cofferdam_protocol::ids::{Folder, SessionId};
use http::HeaderMap;

use super::body::length_of;
use super::{Caller, MAX_REQUEST_BYTES};
use crate::fair::{Bounds, Fair, Place};

const KIB: usize = 1024;

/// In KiB.
const BOUNDS: Bounds = Bounds {
    // A full context window of text takes 1 to 2 MiB.
    own: 4 * 1024,
    group: 64 * 1024,
    whole: 256 * 1024,
    // The door bounds it.
    line: usize::MAX,
};

/// Room for bodies.
#[derive(Debug, Clone)]
pub(super) struct Room(Fair<Folder, SessionId>);

impl Default for Room {
    fn default() -> Self {
        Self(Fair::new(BOUNDS))
    }
}

impl Room {
    /// Waits for the room that a call with these headers may take, until it is dropped. A body of unknown length takes as
    /// much as the largest. None never comes: the line has no end.
    pub(super) async fn take(&self, caller: &Caller, headers: &HeaderMap) -> Option<Place> {
        self.0.take(caller.group.clone(), caller.session.clone(), kib(headers)).await
    }
}

fn kib(headers: &HeaderMap) -> u32 {
    // Longer ones are refused without being read to their end.
    let bytes = length_of(headers).unwrap_or(MAX_REQUEST_BYTES).min(MAX_REQUEST_BYTES);
    u32::try_from(bytes.div_ceil(KIB).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use crate::config::pool::Serving;

    use super::*;

    fn headers(text: &'static str) -> HeaderMap {
        let (name, value) = text.split_once(": ").unwrap();
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    fn caller(group: &str, session: char) -> Caller {
        let session = String::from(session).repeat(32).parse().unwrap();
        Caller { group: group.parse().unwrap(), session, serving: Serving::default() }
    }

    fn takes(room: &Room, caller: &Caller, text: &'static str) -> Option<Place> {
        room.take(caller, &headers(text)).now_or_never().flatten()
    }

    const LARGEST: &str = "transfer-encoding: chunked";
    const ORDINARY: &str = "content-length: 2000000";

    #[test]
    fn a_call_takes_what_its_body_can_take() {
        assert_eq!(kib(&HeaderMap::new()), 1, "no body at all");
        assert_eq!(kib(&headers("content-length: 1025")), 2);
        assert_eq!(kib(&headers("content-length: 99999999999")), 64 * 1024);
        assert_eq!(kib(&headers("content-length: 99999999999999999999999")), 64 * 1024);
        assert_eq!(kib(&headers(LARGEST)), 64 * 1024);
    }

    #[test]
    fn the_largest_calls_of_one_group_leave_room_for_those_of_others() {
        let (room, [one, two]) = (Room::default(), ["one", "two"].map(|group| caller(group, 'a')));
        let first = takes(&room, &one, LARGEST);
        assert!(first.is_some());
        assert!(takes(&room, &one, LARGEST).is_none(), "a group has its bound");
        assert!(takes(&room, &caller("one", 'b'), LARGEST).is_none(), "whichever session asks");
        assert!(takes(&room, &two, LARGEST).is_some());
        drop(first);
        assert!(takes(&room, &one, LARGEST).is_some());
    }

    #[test]
    fn an_ordinary_call_waits_for_nobody_while_hostile_groups_hold_all_there_is() {
        let room = Room::default();
        let groups: Vec<Caller> = (0..5).map(|number| caller(&format!("g{number}"), 'a')).collect();
        let held: Vec<_> = groups.iter().map_while(|caller| takes(&room, caller, LARGEST)).collect();
        assert_eq!(held.len(), 4);
        let largest = headers(LARGEST);
        let mut fifth = Box::pin(room.take(&groups[4], &largest));
        assert!(fifth.as_mut().now_or_never().is_none(), "it waits");
        let quiet = caller("quiet", 'c');
        let two = [takes(&room, &quiet, ORDINARY), takes(&room, &quiet, ORDINARY)];
        assert!(two.iter().all(Option::is_some));
        assert!(takes(&room, &quiet, ORDINARY).is_none(), "beyond its own it waits like others");
        assert!(takes(&room, &caller("g0", 'b'), ORDINARY).is_some(), "a hostile session is not its group");
    }
}
