//! Sources over real SQLite files.
use super::*;
