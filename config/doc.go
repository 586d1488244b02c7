// Package config holds every setting of the broker: one struct with its
// defaults, read from flags and the environment.
//
// A setting is a field of Config with a tag that names its flag and says what
// it does. The environment variable follows from the flag: --amqp-addr is
// LEVERET_AMQP_ADDR. A flag wins over the environment, which wins over the
// default. docs/configuration.md is printed from the same tags and a test holds
// it to them.
//
//	defaults ─► environment ─► flags ─► Validate ─► server
//
// A bad value, and a variable LEVERET_… that nobody knows, refuse the start
// with the name of the setting and what it may be: a broker that runs with
// other settings than the ones its owner wrote is worse than none.
//
// The package knows nothing of the rest of the module and may be imported by
// cmd/leveret, server and test code only; every other package has an Options
// struct of its own which server fills.
package config
