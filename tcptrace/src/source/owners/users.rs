//! The names of users, from the host's list (`/etc/passwd`). Users whom a directory service knows are in no file, and have no
//! name here: asking the service would run code that cannot be confined.

use std::{
    collections::HashMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

/// The list of users (passwd(5)).
const LIST: &str = "/etc/passwd";

/// How long the list is not read again for a user that is not in it.
const PAUSE: Duration = Duration::from_secs(10);

/// The names of users by their numbers.
pub(super) struct Users {
    names: HashMap<u32, Arc<str>>,
    read: Option<Instant>,
}

impl Users {
    /// Reads the list.
    pub(super) fn open() -> Self {
        Self {
            names: fs::read_to_string(LIST).map_or_else(|_| HashMap::new(), |list| parse(&list)),
            read: None,
        }
    }

    /// The name of the user with the number `uid`.
    pub(super) fn name(&mut self, uid: u32, now: Instant) -> Option<Arc<str>> {
        if !self.names.contains_key(&uid) && self.read.is_none_or(|read| now.duration_since(read) >= PAUSE) {
            *self = Self { read: Some(now), ..Self::open() };
        }
        self.names.get(&uid).cloned()
    }
}

/// The first name of each number.
fn parse(list: &str) -> HashMap<u32, Arc<str>> {
    let mut names = HashMap::new();
    for line in list.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(_), Some(Ok(uid))) =
            (fields.next(), fields.next(), fields.next().map(str::parse))
        {
            names.entry(uid).or_insert_with(|| name.into());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_first_name_of_a_number_counts() {
        let names = parse(
            "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n\nbad\nno:x:number:\n+::::::\nme:x:1000:1000::/:/bin/sh",
        );
        assert_eq!(names.get(&0).map(|name| &**name), Some("root"));
        assert_eq!(names.get(&1000).map(|name| &**name), Some("me"));
        assert_eq!(names.len(), 2);
    }
}
