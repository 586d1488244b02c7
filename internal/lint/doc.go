// Package lint holds the rules of the source tree as tests, so that go test
// says when one is broken:
//
//   - which package may import which (the table in imports_test.go);
//   - the standard log package is banned: ours is called log, and log/slog writes lines;
//   - every package says what it is, and every exported name has a sentence;
//   - every package that decodes bytes from outside has a Fuzz target;
//   - no test is skipped, no work is left marked as to be done;
//   - no path of somebody's machine and no package registry is named.
//
// There is nothing to import here.
package lint
