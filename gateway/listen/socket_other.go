//go:build !linux

package listen

// systemSocket returns nil.
func systemSocket(PacketConn, int, *Pool) (Socket, error) { return nil, nil }
