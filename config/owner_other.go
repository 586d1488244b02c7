//go:build !unix

package config

import "io/fs"

// trusted takes every file where there are no owners and modes.
func trusted(string, fs.FileInfo) error { return nil }
