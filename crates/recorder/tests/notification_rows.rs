//! Rows of what users may be told of: each event counts once, what is seen counts as old, and what is new or waits is never out of sight; with SQLite, and with
//! PostgreSQL where there is one.
#![allow(clippy::unwrap_used)]

mod database;

use database::databases;
use ringback_recorder::{EventLog, KindCount, NewEvent, NotificationRow, NotificationRows, OccurrenceRow, Seen, Store};
use serde_json::json;

fn row(id: &str, at: u64, kind: &str) -> OccurrenceRow {
    OccurrenceRow {
        user: "ben".to_owned(),
        id: id.to_owned(),
        at,
        kind: kind.to_owned(),
        from: "ann".to_owned(),
        body: json!({ "thread": "t" }),
        held: None,
        notification: None,
        seen_at: None,
    }
}

fn notification(id: &str, revision: u32) -> NotificationRow {
    let body = json!({ "revision": revision });
    NotificationRow {
        user: "ben".to_owned(),
        id: id.to_owned(),
        opened_at: 50,
        revision,
        body,
        told: 0,
        told_alerts: 0,
    }
}

fn count(kind: &str, new: u64, old: u64) -> KindCount {
    KindCount { kind: kind.to_owned(), new, old }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_read_twice_counts_once_and_what_is_seen_counts_as_old() {
    for (url, _keep) in databases("notification_counts").await {
        let store = Store::open(&url).await.unwrap();
        let (rows, log) = (NotificationRows::new(store.clone()), EventLog::new(store));
        let new = [row("c1", 10, "missed_call"), row("c2", 20, "missed_call"), row("n1", 30, "note")];
        for _ in 0..2 {
            rows.put(("peace", 7), &new, &[]).await.unwrap();
        }
        assert_eq!(log.cursor("peace").await.unwrap(), Some(7));
        assert_eq!(rows.counts("ben").await.unwrap(), [count("missed_call", 2, 0), count("note", 1, 0)]);
        let ben = || "ben".to_owned();
        let of = Seen::Of { user: ben(), kind: "missed_call".to_owned(), from: "ann".to_owned(), at: 40 };
        let heard = |at| Seen::One { user: ben(), id: "n1".to_owned(), at };
        rows.put(("peace", 8), &[], &[of, heard(Some(41))]).await.unwrap();
        assert_eq!(rows.counts("ben").await.unwrap(), [count("missed_call", 0, 2), count("note", 0, 1)]);
        assert_eq!(rows.seen(&heard(Some(42))).await.unwrap(), 0, "seen before");
        assert_eq!(rows.seen(&heard(None)).await.unwrap(), 1);
        assert_eq!(rows.seen(&Seen::Until { user: ben(), until: 29, at: 50 }).await.unwrap(), 0);
        assert_eq!(rows.seen(&Seen::Until { user: ben(), until: 30, at: 50 }).await.unwrap(), 1);
        assert_eq!(rows.counts("cem").await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_or_is_not_told_stays_in_sight_until_it_is() {
    for (url, _keep) in databases("notification_decided").await {
        let store = Store::open(&url).await.unwrap();
        let (rows, log) = (NotificationRows::new(store.clone()), EventLog::new(store));
        let new = [row("c1", 10, "missed_call"), row("c2", 20, "missed_call"), row("n1", 30, "note")];
        rows.put(("peace", 1), &new, &[]).await.unwrap();
        assert_eq!(rows.users_due().await.unwrap(), ["ben"]);
        let why = json!({ "rule": "budget", "until": 99 });
        let shown = (notification("c1", 1), vec!["c1".to_owned()]);
        let event = NewEvent { at: 50, kind: "notification.shown".to_owned(), body: json!({}) };
        rows.decided("ben", &[("n1".to_owned(), why.clone())], &[shown], &[event]).await.unwrap();
        assert_eq!(log.newest().await.unwrap(), 1);
        // Long after: what waits and what is new is there, what was told is not.
        let (recent, notifications) = rows.recent("ben", 1_000).await.unwrap();
        assert_eq!(recent.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["c2", "n1"]);
        assert_eq!((recent[1].held.as_ref(), notifications.len()), (Some(&why), 0));
        // Soon after: what is in a recent notification as well, however old it is.
        let (recent, notifications) = rows.recent("ben", 49).await.unwrap();
        assert_eq!((recent.len(), notifications.len()), (3, 1));
        assert_eq!(rows.untold("ben").await.unwrap(), [notification("c1", 1)]);
        rows.told("ben", "c1", 1, 1).await.unwrap();
        assert_eq!(rows.untold("ben").await.unwrap(), []);
        // A revision replaces what was told.
        let again = (notification("c1", 2), vec!["c1".to_owned(), "c2".to_owned()]);
        rows.decided("ben", &[], &[again], &[]).await.unwrap();
        let untold = rows.untold("ben").await.unwrap();
        assert_eq!((untold[0].revision, untold[0].told, untold[0].told_alerts), (2, 1, 1));
        assert_eq!(rows.unseen_items("ben", "c1").await.unwrap().len(), 2);
        let waiting = rows.list("ben", None, 10, true).await.unwrap();
        assert_eq!(waiting.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["n1"]);
        let page = rows.list("ben", None, 2, false).await.unwrap();
        assert_eq!(page.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["n1", "c2"]);
        let page = rows.list("ben", page.next.as_ref(), 2, false).await.unwrap();
        assert_eq!((page.rows.len(), page.next), (1, None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_kept_as_they_were_put_and_what_is_old_is_forgotten() {
    for (url, _keep) in databases("notification_settings").await {
        let store = Store::open(&url).await.unwrap();
        let rows = NotificationRows::new(store.clone());
        assert_eq!(rows.settings("ben").await.unwrap(), None);
        for zone in ["Europe/Berlin", "Asia/Tokyo"] {
            rows.put_settings("ben", &json!({ "time_zone": zone })).await.unwrap();
            assert_eq!(rows.settings("ben").await.unwrap(), Some(json!({ "time_zone": zone })));
        }
        rows.put(("peace", 1), &[row("c1", 10, "missed_call"), row("c2", 20, "missed_call")], &[]).await.unwrap();
        store.forget_occurrences_before(20).await.unwrap();
        assert_eq!(rows.counts("ben").await.unwrap(), [count("missed_call", 1, 0)]);
    }
}
