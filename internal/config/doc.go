// Package config turns the command line, the ZCACHE_* variables and one TOML file into one validated Config.
//
// A value given by flag wins over the variable, the variable over the file, the file over the default. Load reports everything that
// is wrong at once, one line a problem, each naming the setting, where it was written and what would be right; no message ever
// holds a password or a token. A Config that Load returns needs no further checking: addresses parse, hubs do not collide,
// certificates are read, every policy of every hub has its effective value.
//
// What a setting does is decided elsewhere. The package reads the files it is pointed at and writes none.
package config
