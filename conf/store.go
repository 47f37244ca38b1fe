package conf

// store checks that the file of the store is a file of its own, and that nothing is asked
// for that needs one where there is none. What stands in the defaults was not asked for.
func (d *decoder) store(cfg *Config) {
	const at, onStop, qos0 = "store.path", "gateway.on_stop", "spool.qos0"
	if d.bad[at] {
		return
	}
	if cfg.Store.Path != "" {
		switch {
		case sameFile(cfg.Store.Path, d.name):
			d.fault(at, "is this configuration file; want a file of its own")
		case sameFile(cfg.Store.Path, cfg.Broker.PasswordFile.Reveal()):
			d.fault(at, "is the file of broker.password_file; want a file of its own")
		case sameFile(cfg.Store.Path, cfg.Broker.CredentialsFile):
			d.fault(at, "is the file of broker.credentials_file; want a file of its own")
		}
		return
	}
	if cfg.Gateway.OnStop == "keep" && !d.bad[onStop] {
		d.fault(onStop, "\"keep\" needs a store in a file, and store.path is empty; want \"\" or \"disconnect\", or a file in store.path")
	}
	if cfg.Spool.QoS0 && !d.bad[qos0] {
		d.fault(qos0, "needs a store in a file, and store.path is empty; want false, or a file in store.path")
	}
}

// spool checks that each limit fits into the one around it: a smaller one outside would
// be met first, and by others than those it is meant for.
func (d *decoder) spool(cfg *Config) {
	const device, total, file = "spool.max_bytes", "spool.total_bytes", "store.max_bytes"
	d.ordered(device, int64(cfg.Spool.MaxBytes), total, cfg.Spool.TotalBytes)
	if cfg.Store.Path != "" {
		d.ordered(total, cfg.Spool.TotalBytes, file, cfg.Store.MaxBytes)
	}
}

// ordered reports a limit that is above the one it has to fit into, at the key that was
// given. The other may be a default, which the message then says how to get out of the way.
func (d *decoder) ordered(inner string, n int64, outer string, limit int64) {
	if n <= limit || d.bad[inner] || d.bad[outer] {
		return
	}
	switch {
	case !d.given[outer]:
		d.fault(inner, "%s (%d) is above %s (%d, the default); lower it, or set %s to %d or more", inner, n, outer, limit, outer, n)
	case !d.given[inner]:
		d.fault(outer, "%s (%d, the default) is above %s (%d); set %s to %d or less", inner, n, outer, limit, inner, limit)
	default:
		d.fault(outer, "%s (%d) is above %s (%d)", inner, n, outer, limit)
	}
}
