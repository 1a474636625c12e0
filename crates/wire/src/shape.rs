//! What a type looks like on the wire.

/// A type's form, as its `Deserialize` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// `bool`.
    Boolean,
    /// Any integer.
    Integer,
    /// Any floating-point number.
    Float,
    /// Text, or a newtype around it.
    String,
    /// [`crate::Blob`].
    Blob,
    /// [`lath_model::Timestamp`].
    Timestamp,
    /// `()` and unit structs.
    Unit,
    /// A type that takes whatever it is given.
    Any,
    /// A list.
    List(Box<Self>),
    /// A map whose keys are data.
    Map(Box<Self>),
    /// A structure.
    Struct {
        /// The name of the Rust type.
        name: &'static str,
        /// Its members, in order.
        members: Vec<Member>,
    },
    /// An enum: of bare values, of members (a union), or of both.
    Enum {
        /// The variants without content.
        values: Vec<&'static str>,
        /// The variants with content.
        members: Vec<Member>,
    },
    /// A structure that contains itself; its form is described further up.
    Recursive(&'static str),
}

/// A member of a structure or union.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name on the wire.
    pub name: &'static str,
    /// Whether decoding fails without it.
    pub required: bool,
    /// Its form.
    pub shape: Shape,
}

impl Shape {
    /// The members of a structure or union, or of what a list holds; else none.
    pub fn members(&self) -> &[Member] {
        match self {
            Self::Struct { members, .. } | Self::Enum { members, .. } => members,
            Self::List(inner) => inner.members(),
            _ => &[],
        }
    }
}
