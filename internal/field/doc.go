// Package field is how AMQP 0-9-1 writes a table of fields and the properties of a
// message, in RabbitMQ's variant (§4.2.5 and its errata): bytes that everyone keeps
// as they came and looks into in place.
//
//	table       name length u8, name, tag u8, value   ... back to back
//	array       tag u8, value                         ... back to back
//	properties  flags u16, then what they announce, in their order
//
// Both the protocol (amqp/wire) and what is stored (message) speak it. The package
// allocates only to append, and owns nothing.
package field
