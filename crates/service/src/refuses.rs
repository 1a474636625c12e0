use lath_wire::ApiError;

/// A structure of a request with members that AWS knows and Lath refuses when they are set.
pub trait Refuses {
    /// What the wire calls them; where only some values are refused, with them: `type: LAMBDA, ALB`.
    fn names() -> Vec<String>;

    /// Refuses the first that is set. A service that refuses while it validates has nothing to do here.
    ///
    /// # Errors
    /// The service's error for what it does not do.
    fn refuse(&self) -> Result<(), ApiError> {
        Ok(())
    }
}

/// The names of a structure's refused members as paths, for the compatibility table: `place` ends in a dot, or is empty
/// for the request itself.
pub fn names_at<T: Refuses>(place: &str) -> Vec<String> {
    let names = T::names().into_iter();
    names.map(|name| format!("{place}{name}")).collect()
}

/// The given name, or the member's own in the wire's spelling: `ipv6_pool` is `Ipv6Pool`.
pub fn wire_name(member: &str, given: Option<&str>) -> String {
    if let Some(given) = given {
        return given.to_owned();
    }
    let words = member.split('_').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect()
}

/// Whether a member asks for something.
pub trait Asks {
    /// Absent members, `false`, empty texts and empty lists ask for nothing.
    fn asks(&self) -> bool;
}

impl Asks for bool {
    fn asks(&self) -> bool {
        *self
    }
}

impl Asks for String {
    fn asks(&self) -> bool {
        !self.is_empty()
    }
}

impl Asks for i32 {
    fn asks(&self) -> bool {
        true
    }
}

impl<T> Asks for Vec<T> {
    fn asks(&self) -> bool {
        !self.is_empty()
    }
}

impl<T: Asks> Asks for Option<T> {
    fn asks(&self) -> bool {
        self.as_ref().is_some_and(Asks::asks)
    }
}
