package main

import (
	"github.com/leveret-mq/leveret/config"
	"github.com/leveret-mq/leveret/internal/audit"
)

// reload reads the settings anew and has them take hold, all of them that can, or
// none when anything is wrong.
func (r *running) reload() {
	r.systemd.Reloading()
	changes, err := r.readAnew()
	audit.Acted(r.lines.logger, audit.Process("SIGHUP"), audit.Reload, r.settings.File(), "", err)
	if err != nil {
		r.lines.logger.Error("the settings stay as they were: what was read anew makes no sense", "error", err)
		r.systemd.Ready(status(r.settings) + "; settings that were refused stayed as they were")
		return
	}
	r.lines.warn(r.settings)
	for _, c := range changes {
		if c.Live {
			r.lines.logger.Info("setting changed", "setting", c.Setting, "was", c.Old, "is", c.New, "origin", c.From.String())
		} else {
			r.lines.logger.Warn("setting needs a restart to take hold", "setting", c.Setting, "is", c.Old, "would_be", c.New, "origin", c.From.String())
		}
	}
	r.lines.logger.Info("settings read anew", "file", r.settings.File(), "differ", len(changes))
	r.systemd.Ready(status(r.settings))
}

// readAnew prepares all that can fail before anything is changed.
func (r *running) readAnew() ([]config.Change, error) {
	next, err := r.load()
	if err != nil {
		return nil, err
	}
	if err := next.Validate(); err != nil {
		return nil, err
	}
	take, drop, err := r.lines.prepare(next)
	if err != nil {
		return nil, err
	}
	changes, err := r.server.Reload(next)
	if err != nil {
		drop()
		return nil, err
	}
	take()
	r.settings, _ = config.Merge(r.settings, next)
	return changes, nil
}
