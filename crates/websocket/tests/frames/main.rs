//! The codec from outside: rule by rule, there and back, and beside another implementation.

mod oracle;
mod roundtrip;
mod rules;
mod support;
