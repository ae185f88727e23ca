//! What is drawn, on a terminal that is only a buffer.

use super::{BEGIN, MS, OPEN, Traffic, press, services};
use insta::assert_snapshot;
use jiff::tz::TimeZone;
use ratatui_core::{
    backend::TestBackend,
    style::{Color, Modifier},
    terminal::Terminal,
};
use std::{net::IpAddr, sync::Arc};
use tcptrace_core::{
    event::{Event, SegmentCounts, Stats},
    segment::Timestamp,
    sink::text::Naming,
    top::{
        Board, Column, Marks, Ui,
        view::{self, Look, Surroundings},
    },
};

fn look() -> Look {
    Look { color: true, marks: Marks { unicode: true }, zone: TimeZone::UTC }
}

fn around() -> Surroundings {
    Surroundings { what: "eth0".to_owned(), ..Surroundings::default() }
}

fn backend(
    board: &Board,
    ui: &mut Ui,
    around: &Surroundings,
    look: &Look,
    [width, height]: [u16; 2],
) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a buffer");
    terminal.draw(|frame| view::draw(board, ui, around, look, frame.buffer_mut())).expect("a buffer");
    terminal.backend().clone()
}

fn draw(board: &Board, ui: &mut Ui, size: [u16; 2]) -> String {
    backend(board, ui, &around(), &look(), size).to_string()
}

/// Three services, twenty-two seconds after the begin.
fn board() -> Board {
    let mut board = services().board();
    board.advance(Timestamp(BEGIN + 22_000 * MS));
    board
}

#[test]
fn services_at_80_columns() {
    assert_snapshot!(draw(&board(), &mut Ui::default(), [80, 24]));
}

#[test]
fn services_at_120_columns() {
    assert_snapshot!(draw(&board(), &mut Ui::default(), [120, 40]));
}

#[test]
fn services_at_200_columns() {
    assert_snapshot!(draw(&board(), &mut Ui::default(), [200, 14]));
}

#[test]
fn a_small_terminal_says_that_it_is() {
    let small = draw(&board(), &mut Ui::default(), [50, 12]);
    let tiny = draw(&board(), &mut Ui::default(), [24, 4]);
    assert_snapshot!(format!("{small}\n{tiny}"));
    // No size is too small to be drawn on.
    let board = board();
    for width in 1..40 {
        for height in 1..12 {
            for keys in ["", "\r", "\r\r", "?"] {
                let mut ui = Ui::default();
                press(&mut ui, &board, keys);
                draw(&board, &mut ui, [width, height]);
            }
        }
    }
}

#[test]
fn connections_of_a_service_and_the_ladder_of_one() {
    let board = board();
    let mut ui = Ui::default();
    press(&mut ui, &board, "\x1b[B\r");
    let connections = draw(&board, &mut ui, [80, 24]);
    let wide = draw(&board, &mut ui, [120, 16]);
    press(&mut ui, &board, "\r");
    let ladder = draw(&board, &mut ui, [80, 24]);
    press(&mut ui, &board, "\x1b");
    assert_eq!(draw(&board, &mut ui, [80, 24]), connections);
    press(&mut ui, &board, "\x1b");
    assert!(draw(&board, &mut ui, [80, 24]).contains("by service"));
    assert_snapshot!(format!("{connections}\n{wide}\n{ladder}"));
}

#[test]
fn an_open_connection_shows_its_states() {
    let board = board();
    let mut ui = Ui::default();
    press(&mut ui, &board, "/2001\r\r");
    let connections = draw(&board, &mut ui, [80, 12]);
    press(&mut ui, &board, "\r");
    let ladder = draw(&board, &mut ui, [80, 12]);
    assert_snapshot!(format!("{connections}\n{ladder}"));
}

#[test]
fn the_help_fits_the_least_screen() {
    let mut ui = Ui::default();
    press(&mut ui, &board(), "?");
    let narrow = draw(&board(), &mut ui, [80, 24]);
    press(&mut ui, &board(), "\x1b[F");
    let end = draw(&board(), &mut ui, [80, 24]);
    assert!(end.contains("LAST MIN"), "{end}");
    let wide = draw(&board(), &mut ui, [120, 26]);
    assert!(wide.contains("new connections in each 6 s of the last minute"));
    assert_snapshot!(format!("{narrow}\n{wide}"));
    press(&mut ui, &board(), "?");
    assert!(draw(&board(), &mut ui, [80, 24]).contains("by service"));
}

/// The first words of the rows.
fn rows(board: &Board, ui: &mut Ui) -> Vec<String> {
    let drawn = draw(board, ui, [120, 24]);
    let row = |line: &str| {
        line.trim_start_matches(['"', '>', ' ']).split_whitespace().next().unwrap_or_default().to_owned()
    };
    drawn.lines().skip(4).take(18).map(row).filter(|row| !["", "\""].contains(&&**row)).collect()
}

#[test]
fn rows_are_sorted_filtered_and_found() {
    let board = board();
    let mut ui = Ui::default();
    let (web, database, other, reset) =
        ("10.0.0.80:80", "10.0.0.81:5432", "[2001:db8::53]:443", "10.0.0.80:8443");
    assert_eq!(rows(&board, &mut ui), [web, database, other, reset]);
    press(&mut ui, &board, "r");
    assert_eq!(rows(&board, &mut ui), [reset, other, database, web]);
    // From the rate to the total to what failed.
    press(&mut ui, &board, "ss");
    assert_eq!(rows(&board, &mut ui)[0], database);
    press(&mut ui, &board, "SSS");
    assert_eq!(rows(&board, &mut ui)[0], other);
    // The filter works while it is typed, and Esc takes it away.
    press(&mut ui, &board, "/10.0.0.80");
    assert_eq!(rows(&board, &mut ui), [web, reset]);
    press(&mut ui, &board, ":84");
    assert_eq!(rows(&board, &mut ui), [reset]);
    press(&mut ui, &board, "\x7f\x7f\x7f\r");
    assert_eq!(rows(&board, &mut ui), [web, reset]);
    press(&mut ui, &board, "\x1b");
    assert_eq!(rows(&board, &mut ui).len(), 4);
    press(&mut ui, &board, "/REFUSED\r");
    assert_eq!(rows(&board, &mut ui), [database]);
    press(&mut ui, &board, "\x1b");
    // What is found is selected, and the rows stay.
    press(&mut ui, &board, "f80.8");
    assert!(draw(&board, &mut ui, [80, 24]).contains("find: 80.8_"));
    press(&mut ui, &board, "\x15:8\r");
    let selected = |ui: &mut Ui| {
        let drawn = draw(&board, ui, [80, 24]);
        drawn.lines().find(|line| line.starts_with("\">")).expect("a row is selected").to_owned()
    };
    assert!(selected(&mut ui).contains(web), "{}", selected(&mut ui));
    press(&mut ui, &board, "n");
    assert!(selected(&mut ui).contains(reset), "{}", selected(&mut ui));
    press(&mut ui, &board, "N");
    assert!(selected(&mut ui).contains(web));
    press(&mut ui, &board, "gg");
    assert_eq!(rows(&board, &mut ui), ["2001:db8::3", "10.0.0.1", "10.0.0.2", "10.0.0.3"]);
}

/// A row that is selected stays selected when others move.
/// Knows one host and one port.
#[derive(Debug)]
struct Few;

impl Naming for Few {
    fn host(&self, ip: IpAddr) -> Option<Arc<str>> {
        (ip == IpAddr::from([10, 0, 0, 81])).then(|| "db.example".into())
    }

    fn port(&self, port: u16) -> Option<Arc<str>> {
        (port == 5432).then(|| "postgresql".into())
    }

    fn answers(&self) -> u64 {
        1
    }
}

#[test]
fn names_stand_for_addresses_and_both_are_found() {
    let board = board().named_by(Arc::new(Few));
    let numbers = rows(&self::board(), &mut Ui::default());
    let shown = rows(&board, &mut Ui::default());
    assert_eq!(shown.len(), numbers.len());
    assert!(shown.iter().any(|row| row.contains("db.example:postgresql")), "{shown:?}");
    for find in ["db.exam", "0.81:54"] {
        let mut ui = Ui::default();
        press(&mut ui, &board, &format!("/{find}\r"));
        let found = rows(&board, &mut ui);
        assert_eq!(found.len(), 1, "{find}: {found:?}");
        assert!(found[0].contains("db.example:postgresql"), "{found:?}");
        // Its connections, and their servers by the key of another grouping.
        press(&mut ui, &board, "\r");
        assert!(draw(&board, &mut ui, [120, 24]).contains("service db.example:postgresql"));
    }
    assert_eq!(board.changes(), self::board().changes() + 1, "another answer has it drawn anew");
}

#[test]
fn the_selection_stays_with_its_row() {
    let board = board();
    let mut ui = Ui::default();
    press(&mut ui, &board, "\x1b[B");
    let line = |ui: &mut Ui| draw(&board, ui, [80, 24]).lines().position(|line| line.starts_with("\">"));
    assert_eq!(line(&mut ui), Some(5));
    press(&mut ui, &board, "r");
    let drawn = draw(&board, &mut ui, [80, 24]);
    assert!(drawn.contains("\">10.0.0.81:5432"), "{drawn}");
    assert_eq!(line(&mut ui), Some(6));
    press(&mut ui, &board, "\x1b[H");
    assert_eq!(line(&mut ui), Some(4));
    press(&mut ui, &board, "\x1b[4~");
    assert_eq!(line(&mut ui), Some(7));
}

#[test]
fn rows_scroll_where_they_have_no_room() {
    let mut traffic = Traffic::default();
    for port in 1000..1100 {
        traffic.add(0, ["10.0.0.1", &format!("10.0.0.2:{port}")], OPEN);
    }
    let board = traffic.board();
    let mut ui = Ui::default();
    for (keys, first, selected) in [
        ("", "1000", "1000"),
        ("\x1b[6~", "1001", "1018"),
        ("\x1b[6~", "1019", "1036"),
        ("\x1b[A", "1019", "1035"),
        ("\x1b[F", "1082", "1099"),
        ("\x1b[H", "1000", "1000"),
    ] {
        press(&mut ui, &board, keys);
        let drawn = draw(&board, &mut ui, [80, 24]);
        let lines: Vec<_> = drawn.lines().skip(4).take(18).collect();
        assert!(lines[0].contains(&format!("10.0.0.2:{first} ")), "{keys:?}: {drawn}");
        let at = lines.iter().find(|line| line.starts_with("\">")).expect("a row is selected");
        assert!(at.contains(&format!("10.0.0.2:{selected} ")), "{keys:?}: {drawn}");
    }
}

#[test]
fn loss_is_told_and_not_only_by_colour() {
    let mut board = board();
    let drawn = draw(&board, &mut Ui::default(), [80, 24]);
    assert!(drawn.contains("lost: nothing"), "{drawn}");
    board.counters(&Stats { records_lost: 7, ..Stats::default() });
    let backend = backend(&board, &mut Ui::default(), &around(), &look(), [80, 24]);
    assert!(backend.to_string().contains("LOST: 7 records between kernel and tracer"));
    assert_eq!(backend.buffer()[(0, 2)].fg, Color::Red);
    let shed = SegmentCounts { syn: 5, ..SegmentCounts::default() };
    board.counters(&Stats { shed, last: true, ..Stats::default() });
    let drawn = draw(&board, &mut Ui::default(), [80, 24]);
    assert!(drawn.contains("LOST: 5 segments of connections that are not followed"), "{drawn}");
}

#[test]
fn without_colour_and_unicode_all_is_there() {
    let board = board();
    let look = Look { color: false, marks: Marks::default(), ..look() };
    let backend = backend(&board, &mut Ui::default(), &around(), &look, [120, 14]);
    let buffer = backend.buffer();
    assert!(buffer.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    assert!(buffer.content.iter().all(|cell| cell.symbol().is_ascii()));
    assert!(buffer[(0, 4)].modifier.contains(Modifier::REVERSED));
    assert_snapshot!(backend.to_string());
}

/// Names are chosen by others, and reach the screen as text that does nothing.
#[test]
fn hostile_names_do_nothing_to_the_terminal() {
    let mut traffic = Traffic::default();
    traffic.change(0, ["10.0.0.1", "10.0.0.2:80"], super::CLOSED, |event| {
        event.common_mut().expect("of a connection").interface = "e\u{1b}[2J\u{202e}\u{9b}0".into();
        if let Event::Connection(event) = event {
            event.first_data.server_name = Some("\u{1b}]0;x\u{7}\r\n網網網.example".into());
        }
    });
    let board = traffic.board();
    for keys in ["", "g", "ggggg", "\r", "\r\r"] {
        let mut ui = Ui::default();
        press(&mut ui, &board, keys);
        let around =
            Surroundings { what: "\u{1b}[31m".to_owned(), notice: Some(("\u{7}".to_owned(), 2)), ..around() };
        let backend = backend(&board, &mut ui, &around, &look(), [120, 24]);
        for cell in &backend.buffer().content {
            assert!(!cell.symbol().chars().any(|c| c.is_control() || c == '\u{202e}'), "{backend}");
        }
    }
}

#[test]
fn what_has_no_room_is_left_out_in_a_sensible_order() {
    let columns = |width, sort| -> Vec<Column> {
        Column::fitting(width, sort).into_iter().map(|(column, _)| column).collect()
    };
    for width in 32..400 {
        let (narrow, wide) = (columns(width, Column::Rate), columns(width + 1, Column::Rate));
        assert!(narrow.iter().all(|column| wide.contains(column)), "{width}");
        let total: usize = Column::fitting(width, Column::Rate).iter().map(|(_, width)| width).sum();
        assert_eq!(total, width);
    }
    assert_eq!(columns(300, Column::Rate), Column::ALL);
    // What is sorted by is shown wherever it can be.
    for column in Column::ALL {
        assert!(columns(80, column).contains(&column), "{column:?}");
    }
}
