//! What an offered line declares about its sender: simulcast layers by RID (RFC 8851, RFC 8853), SSRCs with their
//! groups (RFC 5576), and the msid (RFC 8830). All of it is optional and none of it is trusted beyond its form.

use rtc_sdp::MediaDescription;

use super::{DeclaredSsrc, Msid, PublishLine};

/// Simulcast layers of one line that are taken; browsers send up to three. Every further one costs the sender bandwidth
/// without giving receivers a choice they need.
const MAX_LAYERS: usize = 4;

/// SSRCs of one line that are noted. Four layers with retransmission are eight; the rest is room for error correction.
const MAX_SSRCS: usize = 16;

/// Longest RID: what fits a one-byte header extension (RFC 8285).
const MAX_RID_LEN: usize = 16;

/// Reads the sending side of a line.
pub(super) fn publish(line: &MediaDescription) -> PublishLine {
    PublishLine { rids: layers(line), ssrcs: ssrcs(line), msid: msid(line) }
}

/// Whether the line offers to send simulcast.
pub(super) fn offers_simulcast(line: &MediaDescription) -> bool {
    values(line, "simulcast").any(|value| value.split_whitespace().any(|word| word == "send"))
}

fn values<'a>(line: &'a MediaDescription, key: &'a str) -> impl Iterator<Item = &'a str> {
    line.attributes
        .iter()
        .filter(move |attribute| attribute.key == key)
        .filter_map(|attribute| attribute.value.as_deref())
}

/// The layers to send, in the offerer's order. Of alternatives (`q,p`) the first is taken, and a layer offered as paused
/// (`~q`) like any other.
fn layers(line: &MediaDescription) -> Vec<String> {
    let declared: Vec<&str> = values(line, "rid")
        .filter_map(|value| {
            let mut fields = value.split_whitespace();
            let (rid, direction) = (fields.next()?, fields.next()?);
            let valid = rid.len() <= MAX_RID_LEN
                && rid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            (valid && direction == "send").then_some(rid)
        })
        .collect();
    let mut chosen: Vec<&str> = Vec::new();
    if offers_simulcast(line) {
        for value in values(line, "simulcast") {
            let mut fields = value.split_whitespace();
            while let Some(direction) = fields.next() {
                let Some(list) = fields.next() else { break };
                if direction == "send" {
                    // Firefox once wrote `rid=q;h`.
                    let list = list.strip_prefix("rid=").unwrap_or(list);
                    let first_choices = list.split(';').filter_map(|layer| layer.split(',').next());
                    chosen.extend(
                        first_choices
                            .map(|layer| layer.trim_start_matches('~'))
                            .filter(|layer| declared.contains(layer)),
                    );
                }
            }
        }
    } else {
        chosen = declared;
    }
    let mut layers: Vec<String> = Vec::new();
    for layer in chosen {
        if layers.len() < MAX_LAYERS && !layers.iter().any(|known| known == layer) {
            layers.push(layer.to_owned());
        }
    }
    layers
}

/// The media SSRCs in order, each with that of its retransmissions. A group may name an SSRC that is not declared
/// otherwise (FFmpeg's FID groups do).
fn ssrcs(line: &MediaDescription) -> Vec<DeclaredSsrc> {
    let groups: Vec<(&str, u32, u32)> = values(line, "ssrc-group")
        .filter_map(|value| {
            let mut fields = value.split_whitespace();
            let semantics = fields.next().filter(|semantics| matches!(*semantics, "FID" | "FEC-FR"))?;
            Some((semantics, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .take(MAX_SSRCS)
        .collect();
    let declared = values(line, "ssrc").filter_map(|value| value.split_whitespace().next()?.parse().ok());
    let of_groups = groups.iter().map(|(_, media, _)| *media);
    let mut found: Vec<DeclaredSsrc> = Vec::new();
    for ssrc in declared.chain(of_groups) {
        let known = found.iter().any(|known| known.ssrc == ssrc);
        let repairs = groups.iter().any(|(_, _, repair)| *repair == ssrc);
        if !known && !repairs && found.len() < MAX_SSRCS {
            let rtx =
                groups.iter().find(|(semantics, media, _)| *semantics == "FID" && *media == ssrc).map(|group| group.2);
            found.push(DeclaredSsrc { ssrc, rtx });
        }
    }
    found
}

fn msid(line: &MediaDescription) -> Option<Msid> {
    let of_ssrc = || {
        values(line, "ssrc")
            .find_map(|value| value.split_once(' ').and_then(|(_, attribute)| attribute.strip_prefix("msid:")))
    };
    let mut fields = values(line, "msid").next().or_else(of_ssrc)?.split_whitespace();
    Some(Msid { stream: fields.next()?.to_owned(), track: fields.next().unwrap_or_default().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(attributes: &[(&str, &str)]) -> MediaDescription {
        attributes.iter().fold(MediaDescription::default(), |line, (key, value)| {
            line.with_value_attribute((*key).into(), (*value).into())
        })
    }

    #[test]
    fn layers_come_in_the_order_of_the_simulcast_attribute() {
        let offer =
            line(&[("rid", "f send"), ("rid", "q send pt=96"), ("rid", "h send"), ("simulcast", "send q;~h;f,q;x")]);
        assert_eq!(publish(&offer).rids, ["q", "h", "f"]);
        let old = line(&[("rid", "a send"), ("rid", "b send"), ("simulcast", "recv c send rid=b;a")]);
        assert_eq!(publish(&old).rids, ["b", "a"]);
        assert!(publish(&line(&[("rid", "a recv"), ("simulcast", "recv a")])).rids.is_empty());
        assert_eq!(publish(&line(&[("rid", "a send")])).rids, ["a"]);
    }

    #[test]
    fn no_more_layers_and_ssrcs_are_noted_than_anybody_needs() {
        let rids: Vec<String> = (0..200).map(|number| format!("r{number} send")).collect();
        let ssrcs: Vec<String> = (1..200).map(|number| format!("{number} cname:x")).collect();
        let mut attributes: Vec<(&str, &str)> = rids.iter().map(|rid| ("rid", rid.as_str())).collect();
        attributes.extend(ssrcs.iter().map(|ssrc| ("ssrc", ssrc.as_str())));
        let publish = publish(&line(&attributes));
        assert_eq!((publish.rids.len(), publish.ssrcs.len()), (MAX_LAYERS, MAX_SSRCS));
    }

    #[test]
    fn a_group_may_name_an_undeclared_ssrc() {
        let ffmpeg = line(&[("ssrc", "7 cname:x"), ("ssrc-group", "FID 7 8"), ("ssrc-group", "FID 9")]);
        assert_eq!(publish(&ffmpeg).ssrcs, [DeclaredSsrc { ssrc: 7, rtx: Some(8) }]);
        assert_eq!(publish(&line(&[("ssrc-group", "FID 7 8")])).ssrcs, [DeclaredSsrc { ssrc: 7, rtx: Some(8) }]);
    }

    #[test]
    fn repairing_ssrcs_are_no_media() {
        let offer = line(&[
            ("ssrc", "1 cname:x"),
            ("ssrc", "1 msid:s t"),
            ("ssrc", "2 cname:x"),
            ("ssrc", "3 cname:x"),
            ("ssrc-group", "FID 1 2"),
            ("ssrc-group", "FEC-FR 1 3"),
            ("ssrc", "99999999999 cname:x"),
        ]);
        assert_eq!(publish(&offer).ssrcs, [DeclaredSsrc { ssrc: 1, rtx: Some(2) }]);
        assert_eq!(publish(&offer).msid, Some(Msid { stream: "s".into(), track: "t".into() }));
    }
}
