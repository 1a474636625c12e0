/// None, one or many texts: what a request names.
pub trait Values {
    /// The texts.
    fn texts(self) -> Vec<String>;
}

impl Values for String {
    fn texts(self) -> Vec<String> {
        vec![self]
    }
}

impl Values for &'static str {
    fn texts(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl Values for bool {
    fn texts(self) -> Vec<String> {
        vec![self.to_string()]
    }
}

impl Values for i32 {
    fn texts(self) -> Vec<String> {
        vec![self.to_string()]
    }
}

impl Values for i64 {
    fn texts(self) -> Vec<String> {
        vec![self.to_string()]
    }
}

impl<T: Values> Values for Option<T> {
    fn texts(self) -> Vec<String> {
        self.map_or_else(Vec::new, Values::texts)
    }
}

impl<T: Values> Values for Vec<T> {
    fn texts(self) -> Vec<String> {
        self.into_iter().flat_map(Values::texts).collect()
    }
}
