//! The parts of a request that rules match on.

/// A request's head, as rules see it.
pub trait Head {
    /// The method, as sent.
    fn method(&self) -> &str;
    /// The raw path without the query.
    fn path(&self) -> &str;
    /// The raw query; empty when there is none.
    fn query(&self) -> &str;
    /// All values of a header, in the order received. The name is in lower case.
    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]>;
}

/// A head of plain strings, for tests and for explaining a hypothetical request.
#[derive(Debug, Clone, Default)]
pub struct PlainHead {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, Vec<u8>)>,
}

impl PlainHead {
    /// A head without headers.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            query: String::new(),
            headers: Vec::new(),
        }
    }

    /// With a query, which is given without its question mark.
    pub fn with_query(mut self, query: &str) -> Self {
        query.clone_into(&mut self.query);
        self
    }

    /// Adds a header.
    pub fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_ascii_lowercase(), value.as_ref().to_vec()));
        self
    }
}

impl Head for PlainHead {
    fn method(&self) -> &str {
        &self.method
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> &str {
        &self.query
    }

    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_slice())
    }
}
