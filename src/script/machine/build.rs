//! Builds the C side of the Lua engine, `shim.c`, with the headers of the Lua that mlua-sys builds.

fn main() {
    let source = "src/script/machine/shim.c";
    println!("cargo:rerun-if-changed={source}");
    let headers = std::env::var("DEP_LUA_INCLUDE").expect("mlua-sys names its headers");
    cc::Build::new().file(source).include(headers).opt_level(2).compile("annulet_lua");
}
