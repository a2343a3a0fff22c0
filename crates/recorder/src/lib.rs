//! Notes: what an unanswered caller leaves, from decrypted packets to a file in an inbox.
