//! Why settings are refused.

/// An error of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeaceError {
    /// Not a name of the IANA time zone database.
    #[error("{0:?} is no time zone: one like \"Europe/Berlin\" is expected")]
    TimeZone(String),
    /// Not a time of day.
    #[error("{0:?} is no time of day: one like \"22:30\" is expected")]
    TimeOfDay(String),
    /// A number or a list that is out of bounds.
    #[error("{setting} must be {expected}")]
    Bounds {
        /// Which setting.
        setting: &'static str,
        /// What would do.
        expected: &'static str,
    },
}
