//! What a person reads who wrote an expression that is none.
