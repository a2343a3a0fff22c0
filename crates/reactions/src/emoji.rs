//! What may be reacted with: one emoji of Unicode's data in its fully qualified form, or one of the embedder's own pictures by its id.
//! Everything else is refused by not being in a table; nothing here parses grapheme clusters.

use std::collections::BTreeSet;

/// Bytes in an id of the embedder: a picture or a status.
const MAX_ID: usize = 32;

/// Ids of each kind. Snapshots do not list them, so that this bounds no message; it only keeps counters few.
const MAX_IDS: usize = 1024;

/// The longest emoji there is, in bytes, with room for those to come: a couple with two skin tones has 35.
pub(crate) const MAX_EMOJI: usize = 64;

/// The emoji that a text is, fully qualified, if it is exactly one: with skin tones, joined by ZWJ, flags, keycaps, and those that lack
/// their variation selector.
#[must_use]
pub fn canonical_emoji(text: &str) -> Option<&'static str> {
    if text.len() > MAX_EMOJI {
        return None;
    }
    emojis::get(text).map(emojis::Emoji::as_str)
}

/// What is wrong with an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PaletteError {
    /// It has other characters, or is too long or empty.
    #[error("{0:?}: an id has 1 to 32 characters of a-z, 0-9, _ and -")]
    Id(String),
    /// There are more than 1,024.
    #[error("at most 1024 ids of a kind")]
    TooMany,
}

/// The embedder's own reactions and statuses. A custom reaction is written `:id:` on the wire, which no emoji is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Palette {
    /// By `:id:`.
    custom: BTreeSet<Box<str>>,
    statuses: BTreeSet<Box<str>>,
}

impl Palette {
    /// A palette of these picture ids and status ids.
    ///
    /// # Errors
    /// When an id is not one, or there are too many.
    pub fn new<'a>(
        custom: impl IntoIterator<Item = &'a str>,
        statuses: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, PaletteError> {
        let mut this = Self::default();
        for id in custom {
            this.custom.insert(format!(":{}:", check(id)?).into());
        }
        for id in statuses {
            this.statuses.insert(check(id)?.into());
        }
        if this.custom.len() > MAX_IDS || this.statuses.len() > MAX_IDS {
            return Err(PaletteError::TooMany);
        }
        Ok(this)
    }

    /// The reaction that a text means, as it is counted and sent on.
    #[must_use]
    pub fn reaction(&self, text: &str) -> Option<&str> {
        canonical_emoji(text).or_else(|| self.custom.get(text).map(|custom| &**custom))
    }

    /// Whether there is such a status.
    #[must_use]
    pub fn has_status(&self, id: &str) -> bool {
        self.statuses.contains(id)
    }
}

fn check(id: &str) -> Result<&str, PaletteError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    let fits = (1..=MAX_ID).contains(&id.len()) && id.bytes().all(allowed);
    if fits { Ok(id) } else { Err(PaletteError::Id(id.to_owned())) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_emoji_of_every_kind_is_one() {
        let kinds = [
            ("plain", "😀"),
            ("a skin tone", "👍🏽"),
            ("two skin tones", "🧑🏿‍🤝‍🧑🏻"),
            ("a ZWJ sequence", "👩‍👩‍👧‍👦"),
            ("the longest", "👩🏿‍❤️‍💋‍👩🏽"),
            ("a profession with a tone", "👩🏾‍🚀"),
            ("a flag", "🇺🇦"),
            ("a flag by tags", "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}"),
            ("a flag by ZWJ", "🏳️‍🌈"),
            ("a keycap", "7️⃣"),
            ("with its selector", "❤\u{fe0f}"),
        ];
        for (kind, emoji) in kinds {
            assert_eq!(canonical_emoji(emoji), Some(emoji), "{kind}");
        }
        for emoji in
            emojis::iter().flat_map(|emoji| std::iter::once(emoji).chain(emoji.skin_tones().into_iter().flatten()))
        {
            assert_eq!(canonical_emoji(emoji.as_str()), Some(emoji.as_str()), "{}", emoji.name());
        }
    }

    #[test]
    fn spellings_without_a_selector_count_as_the_same_emoji() {
        for (sloppy, full) in [("❤", "❤️"), ("7⃣", "7️⃣"), ("🏳‍🌈", "🏳️‍🌈"), ("☺", "☺️")]
        {
            assert_eq!(canonical_emoji(sloppy), Some(full));
        }
    }

    #[test]
    fn junk_is_not_an_emoji() {
        let zalgo = format!("😀{}", "\u{0301}".repeat(20));
        let many = "\u{200d}👩".repeat(40);
        let junk = [
            "",
            " ",
            "a",
            "7",
            "#",
            "👍👍",
            "👍 ",
            " 👍",
            "👍\u{200d}",
            "\u{200d}",
            "\u{fe0f}",
            "👍\u{fe0e}",
            "\u{202e}👍",
            "👍\u{202c}",
            "👍\u{0301}",
            "🇺",
            "🇺🇺",
            "🏻",
            "\u{1f3fb}\u{1f3fb}",
            "🏴\u{e0067}",
            "\u{0}",
            "👍\u{0}",
            ":smile:",
            "😀😀",
            &zalgo,
            &many,
        ];
        for text in junk {
            assert_eq!(canonical_emoji(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_embedders_own_are_known_by_id_and_no_others() {
        let palette = Palette::new(["party-parrot", "ship_it"], ["brb"]).unwrap();
        assert_eq!(palette.reaction(":ship_it:"), Some(":ship_it:"));
        assert_eq!(palette.reaction("👍"), Some("👍"));
        for text in ["ship_it", ":ship_it", ":ship_it::", ":SHIP_IT:", ":other:", "::"] {
            assert_eq!(palette.reaction(text), None, "{text}");
        }
        assert!(palette.has_status("brb") && !palette.has_status("afk"));
        let long = "x".repeat(33);
        for id in ["", "Ship", "a b", "é", ":x:", &long] {
            assert_eq!(Palette::new([id], []), Err(PaletteError::Id(id.to_owned())));
        }
        let ids: Vec<String> = (0..=MAX_IDS).map(|id| id.to_string()).collect();
        assert_eq!(Palette::new(ids.iter().map(String::as_str), []), Err(PaletteError::TooMany));
    }
}
