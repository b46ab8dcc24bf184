//! One line of a campaign: what is left out is nothing, and what is of another kind is a mistake.

use serde_json::Value;

use super::CampaignError;

/// Letters of a wrong value that are told.
const TOLD_LETTERS: usize = 40;

/// The beginning of a text of the file, as far as it is told.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(TOLD_LETTERS).collect()
}

/// A line that is JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) file: &'a str,
    /// From 1.
    pub(super) number: usize,
    pub(super) value: &'a Value,
}

impl<'a> Line<'a> {
    /// A value within the line, which is told at the same place.
    pub(super) fn within(self, value: &'a Value) -> Self {
        Self { value, ..self }
    }

    pub(super) fn wrong(&self, what: String) -> CampaignError {
        CampaignError::Event { file: self.file.to_owned(), line: self.number, what }
    }

    fn refused(&self, key: &str, found: &Value, wanted: &str) -> CampaignError {
        let found = shortened(&found.to_string());
        self.wrong(format!("`{key}` is {found}, and not {wanted}"))
    }

    fn is_absent(&self, key: &str) -> bool {
        self.value[key].is_null()
    }

    /// A whole number.
    pub(super) fn count(&self, key: &str) -> Result<Option<u64>, CampaignError> {
        let found = self.value[key].as_u64();
        if found.is_none() && !self.is_absent(key) {
            return Err(self.refused(key, &self.value[key], "a whole number of at least 0"));
        }
        Ok(found)
    }

    /// A number of at least 0, such as a time.
    pub(super) fn amount(&self, key: &str) -> Result<Option<f64>, CampaignError> {
        let found = self.value[key].as_f64().filter(|it| it.is_finite() && *it >= 0.0);
        if found.is_none() && !self.is_absent(key) {
            return Err(self.refused(key, &self.value[key], "a number of at least 0"));
        }
        Ok(found)
    }

    pub(super) fn word(&self, key: &str) -> Result<Option<&'a str>, CampaignError> {
        let found = self.value[key].as_str();
        if found.is_none() && !self.is_absent(key) {
            return Err(self.refused(key, &self.value[key], "a text"));
        }
        Ok(found)
    }

    pub(super) fn list(&self, key: &str) -> Result<&'a [Value], CampaignError> {
        match &self.value[key] {
            Value::Null => Ok(&[]),
            Value::Array(list) => Ok(list),
            _ => Err(self.refused(key, &self.value[key], "a list")),
        }
    }

    /// The number of one of `n` servers.
    pub(super) fn server(&self, key: &str, n: usize) -> Result<Option<u64>, CampaignError> {
        match &self.value[key] {
            Value::Null => Ok(None),
            found => self.server_of(key, found, n).map(Some),
        }
    }

    /// The numbers of some of `n` servers.
    pub(super) fn servers(&self, key: &str, n: usize) -> Result<Vec<u64>, CampaignError> {
        self.list(key)?.iter().map(|found| self.server_of(key, found, n)).collect()
    }

    fn server_of(&self, key: &str, found: &Value, n: usize) -> Result<u64, CampaignError> {
        let last = n.saturating_sub(1);
        let server = found.as_u64().filter(|it| *it < n as u64);
        let wanted = format!("one of the servers' numbers 0 to {last}");
        server.ok_or_else(|| self.refused(key, found, &wanted))
    }
}
