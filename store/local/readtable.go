package local

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// ReadTable calls fn with every entry of a table of a data directory, in the order of revisions.
// It changes nothing and needs no lock, so a process may have the directory open: what is read is
// what one moment had, each write whole or absent, since a table's file is appended to and
// replaced by a rename. A directory that is not one, or whose table is damaged, is an error.
func ReadTable(dir, name string, fn func(store.Entry) error) error {
	files := fs.Real()
	layout, err := readFile(files, filepath.Join(dir, layoutName))
	if err == nil {
		_, err = decodeLayout(layout)
	}
	if err != nil {
		return fmt.Errorf("%s is no data directory that can be read: %w", dir, err)
	}
	if !validTableName(name) {
		return fmt.Errorf("read table %q: not a name for a table", name)
	}
	data, err := readFile(files, filepath.Join(dir, name, tableName))
	if err != nil {
		return fmt.Errorf("read table %s: %w", name, err)
	}
	scan, err := scanTable(data)
	if err != nil {
		return fmt.Errorf("read table %s: %w", name, err)
	}
	if len(scan.damaged) > 0 {
		return fmt.Errorf("read table %s: damaged ranges %s: %w", name, describe(scan.damaged), ErrCorrupt)
	}
	all := make([]store.Entry, 0, len(scan.entries))
	for key, e := range scan.entries {
		all = append(all, store.Entry{Key: key, Value: e.value, Revision: e.revision})
	}
	slices.SortFunc(all, func(a, b store.Entry) int { return cmp.Compare(a.Revision, b.Revision) })
	for _, e := range all {
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}
