//! Files that rotate, as the threads write them that a trace starts: nothing is lost and nothing is there twice.

use crate::fixtures;
use jiff::tz::TimeZone;
use rustix::{
    fd::OwnedFd,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    },
};
use ruzstd::decoding::StreamingDecoder;
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    },
    path::{Path, PathBuf},
    process::{self, Command},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tcptrace::{
    confine::confine_to_folder,
    event::Event,
    sink::{
        Sink,
        files::{Confine, Files, FilesError, Framing, Plan, Rotation},
        output::{Output, Pressure},
    },
};
use tcptrace_testing::folder::Folder;

/// Long enough for any machine; nothing waits for it unless a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a line is, with its line feed.
const LINE: usize = 100;

/// The names of the files in a folder, in order.
pub(crate) fn names_in(folder: &Folder) -> Vec<String> {
    folder.paths().iter().map(|path| utf8(path.file_name().expect("a file has one").to_owned())).collect()
}

/// The names of those that are done with.
fn done_in(folder: &Folder) -> Vec<String> {
    names_in(folder).into_iter().filter(|name| name.starts_with("events-2")).collect()
}

fn utf8(name: OsString) -> String {
    name.into_string().expect("UTF-8")
}

/// Writes a line with a number for each event.
struct Numbered(u64);

impl Sink for Numbered {
    fn event(&mut self, _: &Event, out: &mut bytes::BytesMut) {
        out.extend_from_slice(format!("{:<width$}\n", self.0, width = LINE - 1).as_bytes());
        self.0 += 1;
    }
}

/// The numbers of the lines in a file, which are all whole.
fn numbers(bytes: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(bytes).expect("digits and spaces");
    assert!(text.is_empty() || text.ends_with('\n'), "half a line at the end");
    let number = |line: &str| {
        assert_eq!(line.len(), LINE - 1, "half a line: {line:?}");
        line.trim().parse().expect("a number")
    };
    text.lines().map(number).collect()
}

fn read(path: &Path) -> Vec<u64> {
    let bytes = fs::read(path).expect("it is there");
    if path.extension().is_none_or(|it| it != "zst") {
        return numbers(&bytes);
    }
    let (mut rest, mut text) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        StreamingDecoder::new(&mut rest).expect("a frame").read_to_end(&mut text).expect("it is whole");
    }
    numbers(&text)
}

/// How many whole lines are in a file that may just be written to: half of a write can be there.
fn lines(path: &Path) -> usize {
    fs::read(path).expect("it is there").len() / LINE
}

fn plan(path: PathBuf, rotation: Rotation) -> Plan {
    Plan {
        path,
        mode: 0o600,
        follows: false,
        empties: false,
        framing: Framing::Lines,
        rotation,
        zone: TimeZone::UTC,
    }
}

fn of_size(size: u64) -> Rotation {
    Rotation { size: Some(size), ..Rotation::default() }
}

/// An output of numbered lines, by threads that are confined as those of a trace are.
fn start(plan: Plan, pressure: Pressure, queue_bytes: usize) -> Output {
    let files = Files::open(plan).expect("it can be opened");
    let confine: Confine = Arc::new(confine_to_folder);
    let pipe = files.start(pressure, queue_bytes, &confine).expect("threads");
    Output::new(Box::new(Numbered(0)), pipe)
}

fn write(output: &mut Output, lines: u64) {
    for _ in 0..lines {
        output.event(&Event::Transition(fixtures::transition())).expect("open");
    }
    output.flush().expect("open");
}

pub(crate) fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "{what} does not come");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn by_size_nothing_is_lost_and_nothing_is_there_twice() {
    let folder = Folder::new();
    let mut output = start(plan(folder.join("events.jsonl"), of_size(64 * 1024)), Pressure::Wait, 1 << 20);
    for _ in 0..200 {
        write(&mut output, 100);
    }
    let finished = output.finish(PATIENCE);
    assert_eq!((finished.dropped, finished.result), (0, Ok(())));
    let names = names_in(&folder);
    assert!(names.len() > 20, "{names:?}");
    let mut all = Vec::new();
    for name in &names {
        let path = folder.join(name);
        assert!(fs::metadata(&path).expect("it is there").len() <= 64 * 1024, "{name}");
        // Those that are done with come before the one that is written.
        all.extend(read(&path));
    }
    assert_eq!(all, (0..20_000).collect::<Vec<_>>());
}

#[test]
fn an_event_larger_than_a_file_has_one_of_its_own() {
    let folder = Folder::new();
    let mut output = start(plan(folder.join("events.jsonl"), of_size(50)), Pressure::Wait, 1 << 20);
    write(&mut output, 3);
    assert_eq!(output.finish(PATIENCE).result, Ok(()));
    let files: Vec<_> = names_in(&folder).iter().map(|name| read(&folder.join(name))).collect();
    assert_eq!(files, [[0], [1], [2]]);
}

#[test]
fn so_many_are_kept_and_they_are_compressed_and_those_of_others_stay() {
    let folder = Folder::new();
    let others = ["events-old.jsonl", "events-20260613T100000.123Z.json", "other-20260613T100000.123Z.jsonl"];
    for name in others {
        fs::write(folder.join(name), "precious").expect("our folder");
    }
    // Of a run before, the oldest; and what that had not finished.
    fs::write(folder.join("events-20200101T000000.000Z.jsonl"), "").expect("our folder");
    fs::write(folder.join("events-20200101T000000.000Z.jsonl.zst.part"), "half").expect("our folder");
    let rotation = Rotation { keep: Some(3), zstd: true, ..of_size(64 * 1024) };
    let mut output = start(plan(folder.join("events.jsonl"), rotation), Pressure::Wait, 1 << 20);
    for _ in 0..100 {
        write(&mut output, 100);
    }
    assert_eq!(output.finish(PATIENCE).result, Ok(()));
    for name in others {
        assert_eq!(fs::read(folder.join(name)).expect("it stays"), b"precious");
    }
    let done: Vec<_> = done_in(&folder).into_iter().filter(|name| !others.contains(&&**name)).collect();
    assert_eq!(done.len(), 3, "{done:?}");
    let mut all = Vec::new();
    for name in &done {
        assert!(name.ends_with("Z.jsonl.zst"), "{name}");
        assert_eq!(fs::metadata(folder.join(name)).expect("it is there").mode() & 0o777, 0o600);
        all.extend(read(&folder.join(name)));
    }
    all.extend(read(&folder.join("events.jsonl")));
    let first = all[0];
    assert!(first > 5000, "{first}");
    assert_eq!(all, (first..10_000).collect::<Vec<_>>(), "the newest, without a gap");
}

#[test]
fn by_time_a_file_is_done_with_also_if_nothing_comes_any_more() {
    let folder = Folder::new();
    let rotation = Rotation { every: Some(Duration::from_secs(1)), ..Rotation::default() };
    let mut output = start(plan(folder.join("events.jsonl"), rotation), Pressure::Drop, 1 << 20);
    write(&mut output, 10);
    eventually("the end of its time", || done_in(&folder).len() == 1);
    // It stays empty, and an empty file is not put away.
    thread::sleep(Duration::from_millis(2100));
    assert_eq!(names_in(&folder).len(), 2, "{:?}", names_in(&folder));
    write(&mut output, 10);
    assert_eq!(output.finish(PATIENCE).result, Ok(()));
    let all: Vec<_> = names_in(&folder).iter().flat_map(|name| read(&folder.join(name))).collect();
    assert_eq!(all, (0..20).collect::<Vec<_>>());
}

/// A file for each second, of which only those are there that something came in.
#[test]
fn by_time_a_name_that_is_filled_in_leaves_no_empty_files() {
    let folder = Folder::new();
    let rotation = Rotation { every: Some(Duration::from_secs(1)), ..Rotation::default() };
    let mut output = start(plan(folder.join("%Y%m%dT%H%M%S.jsonl"), rotation), Pressure::Drop, 1 << 20);
    let first = names_in(&folder);
    write(&mut output, 10);
    let is_another = || names_in(&folder).last().is_some_and(|name| !first.contains(name));
    eventually("another second", is_another);
    let second = names_in(&folder);
    eventually("a third", || names_in(&folder).last() != second.last());
    write(&mut output, 10);
    assert_eq!(output.finish(PATIENCE).result, Ok(()));
    let files: Vec<_> = names_in(&folder).iter().map(|name| read(&folder.join(name))).collect();
    assert_eq!(files.concat(), (0..20).collect::<Vec<_>>());
    // The file of the first second may have been empty still when the second was over, and is gone then.
    let empty = files.iter().rev().skip(1).filter(|file| file.is_empty()).count();
    assert_eq!(empty, 0, "{:?}", names_in(&folder));
}

#[test]
fn what_is_moved_away_is_written_to_until_it_is_opened_again() {
    let folder = Folder::new();
    let (path, moved) = (folder.join("events.jsonl"), folder.join("events.jsonl.1"));
    let mut output = start(plan(path.clone(), Rotation::default()), Pressure::Drop, 1 << 20);
    write(&mut output, 100);
    eventually("the first", || lines(&path) == 100);
    // Without a move it goes on in the same file.
    output.reopen();
    write(&mut output, 100);
    eventually("the second", || lines(&path) == 200);
    fs::rename(&path, &moved).expect("our folder");
    write(&mut output, 100);
    eventually("the third", || lines(&moved) == 300);
    output.reopen();
    eventually("the new file", || path.exists());
    write(&mut output, 100);
    assert_eq!(output.finish(PATIENCE).dropped, 0);
    let all = [read(&moved), read(&path)].concat();
    assert_eq!(all, (0..400).collect::<Vec<_>>());
}

#[test]
fn half_a_line_of_a_killed_process_is_ended_first() {
    for (before, expected) in [("", ""), ("one\n", "one\n"), ("one\ntwo and a h", "one\ntwo and a h\n")] {
        let folder = Folder::new();
        let path = folder.join("events.jsonl");
        fs::write(&path, before).expect("our folder");
        let mut output = start(plan(path.clone(), Rotation::default()), Pressure::Drop, 1 << 20);
        write(&mut output, 1);
        assert_eq!(output.finish(PATIENCE).dropped, 0);
        let text = fs::read_to_string(&path).expect("it is there");
        let line = text.strip_prefix(expected).expect("what was there stays");
        assert_eq!(numbers(line.as_bytes()), [0]);
    }
}

#[test]
fn a_new_file_is_its_owners_alone_unless_others_may_read_it() {
    let folder = Folder::new();
    for (mode, name) in [(0o600, "events.jsonl"), (0o666, "open.jsonl")] {
        let path = folder.join(name);
        let plan = Plan { mode, ..plan(path.clone(), Rotation::default()) };
        let output = start(plan, Pressure::Drop, 1 << 20);
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, mode, "whatever the mask is");
        assert_eq!(output.finish(PATIENCE).result, Ok(()));
    }
}

/// As root's trace does in a folder of the service that it writes for.
#[test]
fn in_another_user_s_folder_files_rotate_as_well() {
    let folder = Folder::new();
    chown(&*folder, Some(54321), Some(54321)).expect("root may");
    let mut output = start(plan(folder.join("events.jsonl"), of_size(64 * 1024)), Pressure::Wait, 1 << 20);
    write(&mut output, 2000);
    let finished = output.finish(PATIENCE);
    assert_eq!((finished.dropped, finished.result), (0, Ok(())));
    assert!(names_in(&folder).len() > 2, "{:?}", names_in(&folder));
}

fn refusal(plan: Plan) -> String {
    Files::open(plan).expect_err("it is refused").to_string()
}

#[test]
fn a_link_is_refused() {
    let folder = Folder::new();
    let (path, precious) = (folder.join("events.jsonl"), folder.join("precious"));
    fs::write(&precious, "precious").expect("our folder");
    symlink(&precious, &path).expect("our folder");
    let said = refusal(plan(path.clone(), Rotation::default()));
    assert!(said.ends_with("events.jsonl: it is a symbolic link: give the file that is meant"), "{said}");
    fs::set_permissions(&*folder, fs::Permissions::from_mode(0o1777)).expect("our folder");
    let said = refusal(plan(path, Rotation::default()));
    assert!(said.ends_with("it is a link in a folder that everybody can write to"), "{said}");
    assert_eq!(fs::read(precious).expect("it is there"), b"precious");
}

#[test]
fn two_do_not_write_the_same_file() {
    let folder = Folder::new();
    let path = folder.join("events.jsonl");
    let output = start(plan(path.clone(), Rotation::default()), Pressure::Drop, 1 << 20);
    let error = Files::open(plan(path.clone(), Rotation::default())).expect_err("it is written");
    assert!(matches!(error, FilesError::Held { .. }));
    let said = error.to_string();
    let who = format!("events.jsonl is written by process {} (", process::id());
    assert!(said.contains(&who) && said.lines().count() == 1, "{said}");
    assert_eq!(output.finish(PATIENCE).result, Ok(()));
    Files::open(plan(path, Rotation::default())).expect("nobody writes it any more");
}

#[test]
fn a_name_is_filled_in() {
    let folder = Folder::new();
    let year = jiff::Timestamp::now().strftime("%Y").to_string();
    let mut output = start(plan(folder.join("events-%Y.jsonl"), of_size(64 * 1024)), Pressure::Wait, 1 << 20);
    write(&mut output, 1000);
    assert_eq!(output.finish(PATIENCE).result, Ok(()));
    let names = names_in(&folder);
    let expected = format!("events-{year}.jsonl");
    assert!(names.len() == 2 && names[1] == expected, "{names:?}");
    let second = format!("events-{year}-{year}");
    assert!(names[0].starts_with(&second), "{names:?}");
    for wrong in ["%", "events-%!.jsonl", "%D"] {
        let said = refusal(plan(folder.join(wrong), Rotation::default()));
        assert!(said.starts_with("cannot name files by ") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_pipe_whose_reader_comes_back_has_no_half_line() {
    let folder = Folder::new();
    let path = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    let said = refusal(plan(path.clone(), Rotation::default()));
    assert!(said.ends_with("nobody reads from this pipe: start its reader first"), "{said}");
    let open = || {
        let path = path.clone();
        thread::spawn(move || BufReader::new(File::open(path).expect("a pipe")))
    };
    let opening = open();
    let said = loop {
        // The reader is there once opening it to write does not fail for that.
        match Files::open(plan(path.clone(), of_size(4096))) {
            Err(FilesError::Create { .. }) => thread::sleep(Duration::from_millis(2)),
            other => break other.expect_err("a pipe cannot be rotated").to_string(),
        }
    };
    assert!(said.contains("is no regular file and cannot be rotated"), "{said}");
    drop(opening.join().expect("opened"));
    let opening = open();
    eventually("a reader", || Files::open(plan(path.clone(), Rotation::default())).is_ok());
    let reader = opening.join().expect("opened");
    let mut output = start(plan(path.clone(), Rotation::default()), Pressure::Drop, 1 << 20);
    // More than a pipe holds, so that a line is torn when the reader goes.
    write(&mut output, 5000);
    let mut first: Vec<u64> = Vec::new();
    let mut lines = reader.lines();
    first.extend(
        lines.by_ref().take(10).map(|line| line.expect("a line").trim().parse::<u64>().expect("a number")),
    );
    assert_eq!(first, (0..10).collect::<Vec<_>>());
    drop(lines);
    let opening = open();
    let mut reader = opening.join().expect("opened");
    let mut text = Vec::new();
    let finishing = thread::spawn(move || output.finish(PATIENCE));
    reader.read_to_end(&mut text).expect("a pipe");
    let finished = finishing.join().expect("no panic");
    assert_eq!((finished.dropped, finished.result), (0, Ok(())));
    // What the first reader had taken into its buffer is gone with it, up to some point in a line.
    let whole = text.iter().position(|&byte| byte == b'\n').expect("a line") + 1;
    let numbers = numbers(&text[whole..]);
    let first = numbers[0];
    assert_eq!(numbers, (first..5000).collect::<Vec<_>>());
}

#[test]
fn a_device_that_is_always_full_costs_what_finds_no_room() {
    let path = PathBuf::from("/dev/full");
    let mut output = start(plan(path.clone(), Rotation::default()), Pressure::Drop, 10_000);
    for _ in 0..20 {
        write(&mut output, 10);
    }
    // What waits in memory is not lost yet, and connections are not shed for it.
    eventually("the loss", || output.dropped() > 0);
    assert!(output.dropped() < 200, "{}", output.dropped());
    eventually("the failure", || output.backlog() <= 0.0);
    let finished = output.finish(PATIENCE);
    assert_eq!((finished.written, finished.dropped, finished.result), (0, 200, Ok(())));
    // A trace of files ends with the error, as it would have to wait for ever.
    let mut output = start(plan(path, Rotation::default()), Pressure::Wait, 10_000);
    write(&mut output, 1);
    let error = output.finish(PATIENCE).result.expect_err("no room");
    assert!(error.to_string().contains("No space left on device"), "{error}");
}

/// A file system in memory of a MiB, in no namespace: it goes with its descriptor.
fn small_disk() -> OwnedFd {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).expect("root may");
    fsconfig_set_string(&context, "size", "1m").expect("an option");
    fsconfig_create(&context).expect("a file system");
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).expect("root may")
}

#[test]
fn a_disk_that_was_full_has_whole_lines_and_the_rest_is_counted() {
    let disk = small_disk();
    let folder = PathBuf::from(format!("/proc/self/fd/{}", disk.as_raw_fd()));
    let (path, filling) = (folder.join("events.jsonl"), folder.join("filling"));
    fs::write(&filling, vec![0; 700 * 1024]).expect("there is room");
    let mut output = start(plan(path.clone(), Rotation::default()), Pressure::Drop, 50_000);
    let mut sent = 0;
    // Batches of 70 lines are no whole pages, so that one is torn.
    eventually("the loss", || {
        write(&mut output, 70);
        sent += 70;
        output.dropped() >= 1000
    });
    let before = read(&path).len();
    assert!(before > 3000 && before < sent, "{before} of {sent}");
    fs::remove_file(&filling).expect("it was filled");
    eventually("the recovery", || lines(&path) > before);
    write(&mut output, 70);
    sent += 70;
    let finished = output.finish(PATIENCE);
    assert_eq!(finished.result, Ok(()));
    let all = read(&path);
    assert_eq!(all.len() as u64 + finished.dropped, sent as u64);
    assert!(all.is_sorted() && all.windows(2).all(|pair| pair[0] < pair[1]), "in order, and none twice");
    assert_eq!(all.last(), Some(&(sent as u64 - 1)));
}

/// A block of pcapng of this type and length.
fn block(kind: u32, len: u32) -> Vec<u8> {
    let mut block = [kind.to_le_bytes(), len.to_le_bytes()].concat();
    block.resize(len as usize - 4, 7);
    block.extend(len.to_le_bytes());
    block
}

/// The types of the blocks in a file, which are all whole.
fn blocks(path: &Path) -> Vec<u32> {
    let bytes = fs::read(path).expect("it is there");
    let (mut rest, mut kinds) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("a word"));
        let len = word(4) as usize;
        assert_eq!(word(len - 4) as usize, len, "the end of a block");
        kinds.push(word(0));
        rest = &rest[len..];
    }
    kinds
}

#[test]
fn a_disk_that_was_full_has_whole_blocks() {
    const SECTION: u32 = 0x0a0d_0d0a;
    let disk = small_disk();
    let folder = PathBuf::from(format!("/proc/self/fd/{}", disk.as_raw_fd()));
    let (path, filling) = (folder.join("life.pcapng"), folder.join("filling"));
    fs::write(&filling, vec![0; 900 * 1024]).expect("there is room");
    let plan = Plan { framing: Framing::Blocks, ..plan(path.clone(), Rotation::default()) };
    let confine: Confine = Arc::new(confine_to_folder);
    let files = Files::open(plan).expect("it can be opened");
    let mut pipe = files.start(Pressure::Drop, 1 << 20, &confine).expect("threads");
    let mut append = |blocks: Vec<u8>| pipe.append(|out| out.extend_from_slice(&blocks)).expect("open");
    append([block(SECTION, 28), block(1, 20), block(6, 100)].concat());
    // Of no length that divides a page.
    (0..3000).for_each(|_| append(block(6, 92)));
    pipe.flush().expect("open");
    eventually("the failure", || {
        pipe.backlog() <= 0.0 && fs::metadata(&path).is_ok_and(|it| it.len() > 50_000)
    });
    let whole = blocks(&path);
    assert!(whole.len() < 3003, "{}", whole.len());
    fs::remove_file(&filling).expect("it was filled");
    let finished = pipe.finish(PATIENCE);
    assert_eq!((finished.dropped, finished.result), (0, Ok(())));
    let kinds = blocks(&path);
    assert_eq!((kinds.len(), &kinds[..3]), (3003, &[SECTION, 1, 6][..]));
}
