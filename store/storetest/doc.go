// Package storetest is the conformance suite of store.Store. Every backend runs it:
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Opener {
//			dir := t.TempDir()
//			return func() store.Store { … open the store in dir … }
//		})
//	}
//
// It holds what the contract promises and nothing that only one backend does: it
// never assumes dense offsets, instant creation, or a view of more than one batch.
package storetest
