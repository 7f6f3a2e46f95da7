//! A TOML table that is being read: every key is asked for by name, what nobody asked for is a complaint, and
//! everything that is wrong is collected with its line, so that one look at a route file shows all of it.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Complaint;

/// More is a slip of the hand.
const MOST: usize = 1_000_000;

/// What was found wrong so far, and the text for line numbers.
pub(super) struct Complaints<'t> {
    text: &'t str,
    pub(super) list: Vec<Complaint>,
}

impl<'t> Complaints<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, list: Vec::new() }
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        1 + memchr::memchr_iter(b'\n', before).count()
    }

    pub(super) fn add(&mut self, offset: usize, message: impl Into<String>) {
        let line = self.line(offset);
        self.list.push(Complaint { line, message: message.into() });
    }
}

/// One table, with the name under which it is complained about.
pub(super) struct Table<'d> {
    name: String,
    table: &'d DeTable<'d>,
    asked: BTreeSet<&'static str>,
    pub(super) offset: usize,
}

impl<'d> Table<'d> {
    pub(super) fn new(name: impl Into<String>, table: &'d DeTable<'d>, offset: usize) -> Self {
        Self { name: name.into(), table, asked: BTreeSet::new(), offset }
    }

    pub(super) fn rename(&mut self, name: impl Into<String>) {
        self.name = name.into();
    }

    pub(super) fn complain(
        &self,
        complaints: &mut Complaints<'_>,
        offset: usize,
        message: impl std::fmt::Display,
    ) {
        complaints.add(offset, format!("{}: {message}", self.name));
    }

    pub(super) fn get(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.insert(key);
        self.table.get(key)
    }

    pub(super) fn string(
        &mut self,
        key: &'static str,
        complaints: &mut Complaints<'_>,
    ) -> Option<(&'d str, usize)> {
        let value = self.get(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.complain(complaints, value.span().start, format_args!("{key} must be a string"));
        }
        text.map(|text| (text, value.span().start))
    }

    /// As [`Self::string`], and its absence is a complaint.
    pub(super) fn required(
        &mut self,
        key: &'static str,
        complaints: &mut Complaints<'_>,
    ) -> Option<(&'d str, usize)> {
        if self.get(key).is_none() {
            self.complain(complaints, self.offset, format_args!("{key} is missing"));
        }
        self.string(key, complaints)
    }

    /// A whole number of at least `least`.
    pub(super) fn count(
        &mut self,
        key: &'static str,
        least: usize,
        complaints: &mut Complaints<'_>,
    ) -> Option<usize> {
        let value = self.get(key)?;
        let number = value.get_ref().as_integer();
        let number = number.and_then(|number| usize::from_str_radix(number.as_str(), number.radix()).ok());
        let number = number.filter(|number| (least..=MOST).contains(number));
        if number.is_none() {
            let wanted = format_args!("{key} must be a whole number from {least} to {MOST}");
            self.complain(complaints, value.span().start, wanted);
        }
        number
    }

    /// The table under `key`, with its own name for complaints.
    pub(super) fn table(&mut self, key: &'static str, complaints: &mut Complaints<'_>) -> Option<Table<'d>> {
        let value = self.get(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.complain(complaints, value.span().start, format_args!("{key} must be a table"));
        }
        table.map(|table| Table::new(format!("{}: {key}", self.name), table, value.span().start))
    }

    pub(super) fn boolean(&mut self, key: &'static str, complaints: &mut Complaints<'_>) -> Option<bool> {
        let value = self.get(key)?;
        let truth = value.get_ref().as_bool();
        if truth.is_none() {
            self.complain(complaints, value.span().start, format_args!("{key} must be true or false"));
        }
        truth
    }

    pub(super) fn strings(
        &mut self,
        key: &'static str,
        complaints: &mut Complaints<'_>,
    ) -> Option<(Vec<(&'d str, usize)>, usize)> {
        let value = self.get(key)?;
        let texts = value.get_ref().as_array().and_then(|array| {
            array
                .iter()
                .map(|item| Some((item.get_ref().as_str()?, item.span().start)))
                .collect::<Option<Vec<_>>>()
        });
        if texts.is_none() {
            self.complain(complaints, value.span().start, format_args!("{key} must be a list of strings"));
        }
        texts.map(|texts| (texts, value.span().start))
    }

    /// Complains about every key that nobody asked for.
    pub(super) fn finish(self, complaints: &mut Complaints<'_>) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if !self.asked.contains(name) {
                let known: Vec<&str> = self.asked.iter().copied().collect();
                self.complain(
                    complaints,
                    key.span().start,
                    format_args!("unknown key {name:?}; known are {}", known.join(", ")),
                );
            }
        }
    }
}
