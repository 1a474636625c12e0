//! Failures of Lath itself.

/// A failure of what operations stand on, such as the state: no caller is at fault. The API answers such a failure with its
/// error for servers that failed; the type that implements this knows nothing of how.
pub trait Outage: std::error::Error + Send + Sync + 'static {
    /// Whether the same call may succeed later, without a change to Lath, and the caller may read why it fails now. The text
    /// of any other failure is for the log only.
    fn passes(&self) -> bool;
}
