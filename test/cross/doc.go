// Package cross holds tests of what a client of one protocol publishes and a client of another receives, for every
// ordered pair of protocols. It has a small client of each that has none in a library, and may know nothing of the broker but
// its addresses.
package cross
