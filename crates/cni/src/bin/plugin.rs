//! The plugin as a program of its own, for the tests of this crate. Users have `lath`, which is called by its name.

fn main() -> std::process::ExitCode {
    lath_cni::plugin_main()
}
