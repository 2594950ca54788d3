/* The C side of the Lua engine: everything that raises a Lua error.
 *
 * Lua raises an error by longjmp, which must not cross Rust frames. So a native function in Rust
 * leaves its error on the stack and returns -1, and the functions here raise it. Functions of the
 * sandbox that are thin and raise errors by themselves are also here.
 *
 * A protected table is two tables: the script holds an empty one, whose metatable leads reads to
 * the real one and refuses writes. The metatable holds the real table under `real_key`, and what
 * getmetatable shows under `shown_key`. Functions that read or write a table directly look there.
 */

#include <limits.h>
#include <string.h>

#include "lua.h"
#include "lauxlib.h"

/* In Rust. Both may leave an error on the top of the stack. */
extern int annulet_lua_native(lua_State *L); /* results, or -1 for an error */
extern int annulet_lua_pause(lua_State *L);  /* whether to raise an error */

/* Their addresses are the keys in the metatables of protected tables. */
static char real_key, shown_key;

/* More items with a repetition or a capture than this, and a pattern may use too much of the C
 * stack. */
#define PATTERN_ITEMS_MAX 1000

static const char READONLY[] = "Attempt to modify a readonly table";

int annulet_lua_dispatch(lua_State *L) {
    int results = annulet_lua_native(L);
    return results >= 0 ? results : lua_error(L);
}

void annulet_lua_hook(lua_State *L, lua_Debug *ar) {
    (void)ar;
    if (annulet_lua_pause(L)) {
        /* From now on at every line, so that a script cannot go on after pcall. */
        lua_sethook(L, annulet_lua_hook, LUA_MASKLINE, 0);
        lua_error(L);
    }
}

void *annulet_lua_key(int shown) { return shown ? &shown_key : &real_key; }

/* Pushes the value under a key of the metatable of the value at `index`. Returns 0, and pushes
 * nothing, if there is none. */
static int push_hidden(lua_State *L, int index, void *key) {
    if (!lua_getmetatable(L, index)) return 0;
    lua_pushlightuserdata(L, key);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    if (!lua_isnil(L, -1)) return 1;
    lua_pop(L, 1);
    return 0;
}

/* Pushes the real table of the protected table at `index`. Returns 0, and pushes nothing, for any
 * other value. Needs two free slots and raises nothing. */
int annulet_lua_push_real(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TTABLE || !push_hidden(L, index, &real_key)) return 0;
    if (lua_istable(L, -1)) return 1;
    lua_pop(L, 1);
    return 0;
}

static int is_protected(lua_State *L, int index) {
    if (!annulet_lua_push_real(L, index)) return 0;
    lua_pop(L, 1);
    return 1;
}

/* Without a position, as the reference raises it from a C function. */
static int raise_readonly(lua_State *L) {
    lua_pushstring(L, READONLY);
    return lua_error(L);
}

/* __newindex of protected tables. */
static int refuse_newindex(lua_State *L) { return luaL_error(L, READONLY); }

/* __index of tables in which an unknown name is an error. */
static int refuse_index(lua_State *L) {
    if (lua_gettop(L) != 2)
        return luaL_error(L, "Wrong number of arguments to luaProtectedTableError");
    if (!lua_isstring(L, -1))
        return luaL_error(L, "Second argument to luaProtectedTableError must be a string or number");
    return luaL_error(L, "Script attempted to access nonexistent global variable '%s'",
                      lua_tostring(L, -1));
}

static int sandbox_next(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (annulet_lua_push_real(L, 1)) lua_replace(L, 1);
    if (lua_next(L, 1)) return 2;
    lua_pushnil(L);
    return 1;
}

/* Upvalue 1 is the `next` of the sandbox. */
static int sandbox_pairs(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

static int sandbox_rawget(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    if (annulet_lua_push_real(L, 1)) lua_replace(L, 1);
    lua_rawget(L, 1);
    return 1;
}

static int sandbox_rawset(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (is_protected(L, 1)) return raise_readonly(L);
    lua_rawset(L, 1);
    return 1;
}

static int sandbox_getmetatable(lua_State *L) {
    luaL_checkany(L, 1);
    if (push_hidden(L, 1, &shown_key)) return 1;
    if (is_protected(L, 1) || !lua_getmetatable(L, 1)) {
        lua_pushnil(L);
        return 1;
    }
    luaL_getmetafield(L, 1, "__metatable");
    return 1;
}

static int sandbox_setmetatable(lua_State *L) {
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argcheck(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table expected");
    if (luaL_getmetafield(L, 1, "__metatable"))
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    if (is_protected(L, 1)) return raise_readonly(L);
    lua_setmetatable(L, 1);
    return 1;
}

/* pcall that gives the text of an error object, as scripts before Redis 7 expect. */
static int sandbox_pcall(lua_State *L) {
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    if (lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0) == 0) return lua_gettop(L);
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "err");
        if (lua_isstring(L, -1))
            lua_replace(L, -2);
        else
            lua_pop(L, 1);
    }
    lua_pushboolean(L, 0);
    lua_replace(L, 1);
    return 2;
}

static int sandbox_unpack(lua_State *L) {
    int first, last;
    unsigned int count;
    luaL_checktype(L, 1, LUA_TTABLE);
    first = (int)luaL_optinteger(L, 2, 1);
    last = lua_isnoneornil(L, 3) ? (int)lua_objlen(L, 1) : (int)luaL_checkinteger(L, 3);
    if (first > last) return 0;
    count = (unsigned int)last - (unsigned int)first;
    if (count >= INT_MAX || !lua_checkstack(L, (int)count + 1))
        return luaL_error(L, "too many results to unpack");
    for (lua_rawgeti(L, 1, first); first < last;) lua_rawgeti(L, 1, ++first);
    return (int)count + 1;
}

/* Source text for lua_load. It begins with a blank, so that it is never taken for bytecode. */
struct source {
    const char *text;
    size_t bytes;
    int pieces;
};

static const char *read_source(lua_State *L, void *data, size_t *bytes) {
    struct source *source = data;
    (void)L;
    if (source->pieces++ == 0) {
        *bytes = 1;
        return " ";
    }
    if (source->pieces > 2) return NULL;
    *bytes = source->bytes;
    return source->text;
}

/* Compiles source text and pushes the function, or the error. Raises nothing but a lack of memory,
 * which does not happen while Rust runs. The name stays on the stack meanwhile: Lua 5.1.5 does not
 * protect it from the collector. */
int annulet_lua_load(lua_State *L, const char *text, size_t bytes, const char *name) {
    struct source source = {text, bytes, 0};
    int status;
    lua_pushstring(L, name);
    status = lua_load(L, read_source, &source, name);
    lua_remove(L, -2);
    return status;
}

static int loaded(lua_State *L, int status) {
    if (status == 0) return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

static int sandbox_loadstring(lua_State *L) {
    size_t bytes;
    const char *text = luaL_checklstring(L, 1, &bytes);
    const char *name = luaL_optstring(L, 2, text);
    return loaded(L, annulet_lua_load(L, text, bytes, name));
}

/* Slot 3 keeps the piece that the parser reads. */
static const char *read_function(lua_State *L, void *data, size_t *bytes) {
    int *pieces = data;
    if ((*pieces)++ == 0) {
        *bytes = 1;
        return " ";
    }
    luaL_checkstack(L, 2, "too many nested functions");
    lua_pushvalue(L, 1);
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1)) {
        *bytes = 0;
        return NULL;
    }
    if (!lua_isstring(L, -1)) luaL_error(L, "reader function must return a string");
    lua_replace(L, 3);
    return lua_tolstring(L, 3, bytes);
}

static int sandbox_load(lua_State *L) {
    int pieces = 0;
    const char *name = luaL_optstring(L, 2, "=(load)");
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 3);
    lua_pushstring(L, name);
    return loaded(L, lua_load(L, read_function, &pieces, name));
}

/* Upvalue 1 of the functions below is the function of Lua's own library. A C function may call it
 * in its own frame. */
static int original(lua_State *L) { return lua_tocfunction(L, lua_upvalueindex(1))(L); }

static int sandbox_insert(lua_State *L) {
    int top = lua_gettop(L);
    if ((top == 2 || top == 3) && is_protected(L, 1)) return raise_readonly(L);
    return original(L);
}

static int sandbox_foreach(lua_State *L) {
    if (annulet_lua_push_real(L, 1)) lua_replace(L, 1);
    return original(L);
}

static int sandbox_pattern(lua_State *L) {
    size_t bytes, at, items = 0;
    const char *pattern;
    if (lua_type(L, 2) == LUA_TSTRING && lua_objlen(L, 2) > PATTERN_ITEMS_MAX) {
        pattern = lua_tolstring(L, 2, &bytes);
        for (at = 0; at < bytes; at++) items += memchr("*+?-(", pattern[at], 5) != NULL;
        if (items > PATTERN_ITEMS_MAX) return luaL_error(L, "pattern too complex");
    }
    return original(L);
}

/* Nothing, any number of times, takes Lua as many steps. */
static int sandbox_rep(lua_State *L) {
    if (lua_type(L, 1) == LUA_TSTRING && lua_objlen(L, 1) == 0 && lua_isnumber(L, 2)) {
        lua_pushlstring(L, "", 0);
        return 1;
    }
    return original(L);
}

/* The functions by number, for the set-up in Rust; NULL past the end. */
lua_CFunction annulet_lua_function(int number) {
    static const lua_CFunction functions[] = {
        refuse_newindex,      refuse_index,       sandbox_next,   sandbox_pairs,
        sandbox_rawget,       sandbox_rawset,     sandbox_getmetatable,
        sandbox_setmetatable, sandbox_pcall,      sandbox_unpack, sandbox_loadstring,
        sandbox_load,         sandbox_insert,     sandbox_foreach,
        sandbox_pattern,      sandbox_rep,
    };
    return functions[number];
}
