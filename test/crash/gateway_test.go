package crash

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// persistence says whether the gateway is given a store in a file. Without one the test has to
// fail: that is how to see that it can.
const persistence = true

// gateway is the program and the process that runs it now. Only the test's own goroutine uses it.
type gateway struct {
	config string // path
	log    *os.File
	addr   *net.UDPAddr
	ops    string
	client *http.Client
	cmd    *exec.Cmd // nil while it is down
	exited chan struct{}
}

// The devices repeat after retryMin to retryMax; the gateway's interval and count let a
// device be away for longer than any restart takes, so that none is given up.
const configuration = `[gateway]
client_id = "sngate-crash"

[[listener]]
address = %q

[broker]
url = "tcp://%s"
reconnect_min = "100ms"
reconnect_max = "500ms"

[session]
retry_interval = "500ms"
retry_count = 20

[ops]
address = %q

[log]
level = "info"
`

const storeConfiguration = `
[store]
path = %q

[spool]
enabled = %v
`

func newGateway(dir, broker string) (*gateway, error) {
	udp, err := freeUDP()
	if err != nil {
		return nil, err
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	tcp.Close()
	g := &gateway{
		config: filepath.Join(dir, "sngate.toml"), addr: udp, ops: tcp.Addr().String(),
		// No connection is kept: it would outlive the gateway.
		client: &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	text := fmt.Sprintf(configuration, udp, broker, g.ops)
	store := ""
	if persistence {
		store = filepath.Join(dir, "sngate.db")
	}
	text += fmt.Sprintf(storeConfiguration, store, persistence)
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	g.log, err = os.Create(filepath.Join(dir, "sngate.log"))
	return g, err
}

// freeUDP is an address that the gateway can have, over all its restarts.
func freeUDP() (*net.UDPAddr, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr), nil
}

func (g *gateway) start(now time.Duration) error {
	fmt.Fprintf(g.log, "--- start at %s\n", clock(now))
	cmd := exec.Command(program, "run", "-c", g.config)
	cmd.Stdout, cmd.Stderr = g.log, g.log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // an exit that was not asked for is noticed by ready
		close(exited)
	}()
	g.cmd, g.exited = cmd, exited
	return nil
}

// kill returns when the process is gone. An error says that it had ended before.
func (g *gateway) kill() error {
	if g.cmd == nil {
		return nil
	}
	err := g.cmd.Process.Kill()
	<-g.exited
	g.cmd = nil
	return err
}

// ready waits until the gateway can serve devices.
func (g *gateway) ready() error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if resp, err := g.client.Get("http://" + g.ops + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-g.exited:
			return fmt.Errorf("the gateway has ended by itself: %v", g.cmd.ProcessState)
		case <-deadline.C:
			return fmt.Errorf("the gateway is not ready after %v: %s\n%s", patience, g.get("/readyz"), g.get("/metrics"))
		case <-tick.C:
		}
	}
}

// get asks the operator's server for the story of a failure.
func (g *gateway) get(path string) string {
	resp, err := g.client.Get("http://" + g.ops + path)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
