//! The program `ravelin-wormhole`. What it does is in [`ravelin_wormhole::serve`].

fn main() -> std::process::ExitCode {
    ravelin_wormhole::serve::main(std::env::args_os().skip(1)).into()
}
