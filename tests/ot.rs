//! Documents at the real agent: many who edit, programs that write the file meanwhile, and sudden ends.

mod crash;
mod editor;
mod full;
mod outside;
mod together;
mod trace;
