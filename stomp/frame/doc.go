// Package frame is the bytes of STOMP 1.0, 1.1 and 1.2: frames in, frames out, no socket and no broker.
//
//	COMMAND EOL
//	name ":" value EOL      any number of times
//	EOL
//	body NUL                content-length octets when that header is there, else up to the first NUL
//
// An EOL is LF or CR LF. Between frames any number of EOLs and NULs may stand; they are heart-beats or noise.
//
// A Decoder works in place on whatever read buffer it is given: it neither copies nor allocates, keeps how far
// it has looked, and so looks at each byte of a frame that trickles in once. Its limits are checked before
// anything is kept. Escapes are resolved by Frame.Unescape, in the same place, once a frame is all there.
package frame
