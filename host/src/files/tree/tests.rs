use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};

use super::*;

fn copy(from: &Path, to: &Path) -> Copied {
    let take = |path: &Path| match path.extension().and_then(|e| e.to_str()) {
        Some("jsonl") => Take::Lines,
        Some("not") => Take::Not,
        _ => Take::Whole,
    };
    Tree { take: &take, progress: &|_| {} }.copy(from, to).unwrap()
}

#[test]
fn links_are_copied_as_links_and_lead_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir_all(from.join("sub")).unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    symlink("../secret", from.join("link")).unwrap();
    symlink("/", from.join("sub/root")).unwrap();
    let copied = copy(&from, &to);
    assert_eq!((copied.links, copied.files), (2, 0));
    assert_eq!(fs::read_link(to.join("sub/root")).unwrap(), Path::new("/"));
    assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("../secret"));
}

#[test]
fn a_root_that_is_a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("secret")).unwrap();
    fs::write(dir.path().join("secret/key"), "key").unwrap();
    symlink("secret", dir.path().join("from")).unwrap();
    let copied = copy(&dir.path().join("from"), &dir.path().join("to"));
    assert_eq!((copied.files, copied.left_out, copied.failed), (0, 1, 1));
    assert!(!dir.path().join("to").exists(), "an empty directory would be restored in its place");
}

#[test]
fn special_files_are_left_out_and_named_and_nothing_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir(&from).unwrap();
    rustix::fs::mknodat(CWD, from.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::write(from.join("x.not"), "x").unwrap();
    fs::write(from.join("good"), "good").unwrap();
    let copied = copy(&from, &dir.path().join("to"));
    assert_eq!((copied.files, copied.left_out, copied.failed), (1, 1, 0));
    assert!(copied.named[0].starts_with("pipe: "), "{:?}", copied.named);
    assert!(!dir.path().join("to/x.not").exists());
}

#[test]
fn a_huge_file_with_holes_stays_one_and_keeps_mode_and_time() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir(&from).unwrap();
    let file = File::create(from.join("huge")).unwrap();
    file.set_len(1 << 40).unwrap();
    file.write_all_at(b"middle", 1 << 30).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o4751)).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
    let copied = copy(&from, &dir.path().join("to"));
    let copy = File::open(dir.path().join("to/huge")).unwrap();
    let data = copy.metadata().unwrap();
    assert_eq!((data.len(), data.mode() & 0o7777, data.modified().unwrap()), (1 << 40, 0o751, time));
    assert!(copied.bytes < 1 << 24, "{copied:?}");
    let mut middle = [0; 6];
    copy.read_exact_at(&mut middle, 1 << 30).unwrap();
    assert_eq!(&middle, b"middle");
}

#[test]
fn a_log_that_is_being_written_ends_with_a_whole_line() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir(&from).unwrap();
    let long = "x".repeat(100_000);
    fs::write(from.join("a.jsonl"), format!("one\n{long}")).unwrap();
    fs::write(from.join("b.jsonl"), "no line yet").unwrap();
    fs::write(from.join("c.jsonl"), "whole\n").unwrap();
    copy(&from, &dir.path().join("to"));
    let read = |name: &str| fs::read_to_string(dir.path().join("to").join(name)).unwrap();
    assert_eq!([read("a.jsonl"), read("b.jsonl"), read("c.jsonl")], ["one\n", "", "whole\n"]);
}

/// Runs it as somebody who has no rights of root, in a directory of theirs. The kernel knows users by thread.
fn as_nobody(work: impl FnOnce(&Path) + Send) {
    let dir = tempfile::tempdir().unwrap();
    let nobody = 65534;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if geteuid().is_root() {
                std::os::unix::fs::chown(dir.path(), Some(nobody), Some(nobody)).unwrap();
                let (user, group) = (Uid::from_raw(nobody), Gid::from_raw(nobody));
                rustix::thread::set_thread_res_gid(group, group, group).unwrap();
                rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            }
            work(dir.path());
        });
        thread.join().unwrap();
    });
}

#[test]
fn what_may_not_be_read_is_left_out_and_named_and_the_rest_is_copied() {
    as_nobody(|dir| {
        let from = dir.join("from");
        fs::create_dir_all(from.join("closed/in")).unwrap();
        fs::create_dir(from.join("unsearchable")).unwrap();
        for file in ["secret", "good", "closed/x", "unsearchable/x"] {
            fs::write(from.join(file), file).unwrap();
        }
        for (path, mode) in [("secret", 0o000), ("closed", 0o000), ("unsearchable", 0o400)] {
            fs::set_permissions(from.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        let copied = copy(&from, &dir.join("to"));
        assert_eq!((copied.files, copied.left_out, copied.failed), (1, 3, 3), "{copied:?}");
        let mut named = copied.named.clone();
        named.sort();
        let words = ["closed: Permission denied", "secret: Permission denied", "unsearchable: Permission denied"];
        assert!(named.iter().zip(words).all(|(named, words)| named.starts_with(words)), "{named:?}");
        assert_eq!(fs::read_to_string(dir.join("to/good")).unwrap(), "good");
        assert!(!dir.join("to/secret").exists() && !dir.join("to/closed").exists(), "nothing stands for them");
    });
}

#[test]
fn a_copy_that_has_directories_without_rights_can_be_removed() {
    as_nobody(|dir| {
        let from = dir.join("from");
        fs::create_dir_all(from.join("module/inner")).unwrap();
        fs::write(from.join("module/inner/x"), "x").unwrap();
        symlink("../..", from.join("module/up")).unwrap();
        for path in ["module/inner", "module"] {
            fs::set_permissions(from.join(path), fs::Permissions::from_mode(0o555)).unwrap();
        }
        assert_eq!(copy(&from, &dir.join("to")).files, 1);
        remove(&dir.join("to")).unwrap();
        assert!(!dir.join("to").exists());
        let mode = from.join("module").metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o555, "no link of it was followed");
        remove(&from).unwrap();
    });
}

#[test]
fn names_that_are_no_text_or_lines_are_copied() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).unwrap();
    let longest = [b'x'; 255];
    let names: [&[u8]; 5] = [b"a\nb", b"\xff\xfe", b"\x1b[2J", b"-rf *", &longest];
    for name in names {
        fs::write(from.join(OsStr::from_bytes(name)), name).unwrap();
    }
    assert_eq!(copy(&from, &to).files, names.len() as u64);
    for name in names {
        assert_eq!(fs::read(to.join(OsStr::from_bytes(name))).unwrap(), name);
    }
}

#[test]
fn a_tree_too_deep_is_copied_as_far_as_it_may_go_and_the_name_of_the_rest_is_short() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir(&from).unwrap();
    let mut at = walk::open_dir(CWD, from.as_os_str()).unwrap();
    let name = "d".repeat(200);
    for _ in 0..1000 {
        rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = walk::open_dir(&at, OsStr::new(&name)).unwrap();
    }
    let copied = copy(&from, &dir.path().join("to"));
    assert_eq!((copied.left_out, copied.failed), (1, 1));
    let named = &copied.named[0];
    assert!(named.ends_with("…: too deep") && named.chars().count() <= MAX_NAMED, "{named}");
    remove(&dir.path().join("to")).unwrap();
}

#[test]
fn a_file_with_several_names_is_one_file_in_the_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to, again) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("again"));
    fs::create_dir_all(from.join("store")).unwrap();
    fs::create_dir_all(from.join("node_modules/deep")).unwrap();
    fs::write(from.join("store/a"), "text\n").unwrap();
    fs::set_permissions(from.join("store/a"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(dir.path().join("outside"), "outside").unwrap();
    for name in ["node_modules/b", "node_modules/deep/c", "lines.jsonl"] {
        fs::hard_link(from.join("store/a"), from.join(name)).unwrap();
    }
    fs::hard_link(dir.path().join("outside"), from.join("of-outside")).unwrap();
    // And a restore.
    for (source, target) in [(&from, &to), (&to, &again)] {
        let copied = copy(source, target);
        assert_eq!((copied.files, copied.bytes), (5, 5 + 5 + 7), "a log of lines is a copy of its own: {copied:?}");
        let about = |name: &str| target.join(name).metadata().unwrap();
        let (a, b, c) = (about("store/a"), about("node_modules/b"), about("node_modules/deep/c"));
        assert!(a.ino() == b.ino() && a.ino() == c.ino() && a.nlink() == 3, "{a:?} {b:?} {c:?}");
        assert_eq!(a.mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(target.join("node_modules/b")).unwrap(), "text\n");
        assert_eq!(about("of-outside").nlink(), 1, "what is outside is not linked to");
    }
}

#[test]
fn a_tree_that_changes_all_the_time_is_copied_and_nothing_of_outside_gets_in() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    fs::create_dir_all(from.join("sub")).unwrap();
    fs::create_dir(dir.path().join("outside")).unwrap();
    fs::write(dir.path().join("outside/x"), "secret").unwrap();
    for number in 0..40 {
        fs::write(from.join(format!("f{number}")), vec![b'x'; 50_000]).unwrap();
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (sub, outside) = (from.join("sub"), dir.path().join("outside"));
            for turn in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                // A directory, a link out of the tree, a file; and files that shrink, grow, go, or become links.
                let _ = fs::remove_dir_all(&sub);
                let _ = symlink(&outside, &sub);
                let _ = fs::remove_file(&sub);
                let _ = fs::create_dir(&sub).and_then(|()| fs::write(sub.join("x"), "mine"));
                let file = from.join(format!("f{}", turn % 40));
                let _ = match turn % 4 {
                    0 => File::create(&file).map(drop),
                    1 => fs::write(&file, vec![b'y'; 200_000]),
                    2 => fs::remove_file(&file),
                    _ => fs::remove_file(&file).and_then(|()| symlink(outside.join("x"), &file)),
                };
            }
        });
        for number in 0..30 {
            let to = dir.path().join(format!("to{number}"));
            copy(&from, &to);
            for entry in fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.symlink_metadata().unwrap().is_file() {
                    let text = fs::read(&entry).unwrap();
                    assert!(text.iter().all(|byte| matches!(byte, b'x' | b'y' | 0)), "no secrets");
                }
            }
            assert!(!fs::read(to.join("sub/x")).is_ok_and(|text| text == b"secret") || to.join("sub").is_symlink());
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_the_copys_disk_refuses_of_one_file_is_that_files_and_a_full_one_ends_the_copy() {
    for (errno, of_all) in
        [(Errno::FBIG, false), (Errno::NAMETOOLONG, false), (Errno::ILSEQ, false), (Errno::EXIST, false)]
            .into_iter()
            .chain([(Errno::NOSPC, true), (Errno::ROFS, true), (Errno::IO, true), (Errno::DQUOT, true)])
    {
        assert_eq!(walk::refusal(errno).is_none(), of_all, "{errno:?}");
    }
}

#[test]
fn what_failed_is_named_first_and_only_so_many() {
    let mut copied = Copied::default();
    for number in 0..MOST_NAMED {
        copied.leave_out(Path::new(&format!("pipe{number}")), "a pipe");
    }
    let mut other = copied.clone();
    copied.fail(Path::new("a"), "broken");
    other.fail(Path::new("b"), "broken");
    other.leave_out(Path::new("last"), "a pipe");
    copied.add(other);
    assert_eq!((copied.left_out, copied.failed, copied.named.len()), (43, 2, MOST_NAMED));
    assert_eq!(copied.named[..3], ["a: broken", "b: broken", "pipe0: a pipe"]);
    let mut many = Copied::default();
    for number in 0..50 {
        many.fail(Path::new(&number.to_string()), "broken");
    }
    copied.add(many);
    assert_eq!((copied.left_out, copied.failed, copied.named.len()), (93, 52, MOST_NAMED));
}
