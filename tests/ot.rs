//! Documents at the real agent: many who edit, programs that write the file meanwhile, and sudden ends.

mod crash;
mod editor;
mod outside;
mod together;
mod trace;
