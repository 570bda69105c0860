//! For those who know other schedulers: which word of theirs is which here.

#[doc = include_str!("../docs/from_apscheduler.md")]
pub mod from_apscheduler {}

#[doc = include_str!("../docs/from_tokio_cron_scheduler.md")]
pub mod from_tokio_cron_scheduler {}
