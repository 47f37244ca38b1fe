//go:build linux

package bolt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sngate/store"
)

// runChild plays a part in a process of its own and returns its exit status. What it
// prints is for the test that started it.
func runChild(part string, args []string) int {
	parts := map[string]func(path string) error{
		"write":      childWrite,
		"hold":       childHold,
		"limit":      childSizeLimit,
		"small disk": childSmallDisk,
		"cut short":  childCutShort,
	}
	if err := parts[part](args[0]); err != nil {
		fmt.Println("FAIL:", err)
		return 1
	}
	return 0
}

func child(t *testing.T, part, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, path)
	cmd.Env = append(os.Environ(), childEnv+"="+part)
	return cmd
}

// writers is the number of goroutines of the process that is killed; each has its own
// keys, and window records at a time.
const (
	writers = 4
	window  = 10
)

// childWrite commits batches until it is killed and prints each one that was answered.
// Batch i of a writer puts record i into two buckets, removes record i-window from
// both, and sets the writer's counter to i.
func childWrite(path string) error {
	s, rep, err := Open(path, Options{})
	if err != nil {
		return err
	}
	if rep.Lost() {
		return errors.New(rep.String())
	}
	last := make(map[string]int)
	err = s.Load(func(b store.Bucket, key, value []byte) error {
		if b == store.Sessions {
			var n int
			if _, err := fmt.Sscan(string(value), &n); err != nil {
				return err
			}
			last[string(key)] = n
		}
		return nil
	})
	if err != nil {
		return err
	}
	var out sync.Mutex
	var wg sync.WaitGroup
	for w := range writers {
		name := fmt.Sprint("w", w)
		wg.Go(func() {
			for i := last[name] + 1; ; i++ {
				answer := make(chan error, 1)
				ok := s.Submit(store.Batch{Done: func(err error) { answer <- err }, Ops: []store.Op{
					put(store.Held, fmt.Sprintf("%s/%d/", name, i), strings.Repeat("v", 10+i%700)),
					put(store.Sessions, name, fmt.Sprint(i)),
					delPrefix(store.Held, fmt.Sprintf("%s/%d/", name, i-window)),
					del(store.Spool, fmt.Sprintf("%s/%d", name, i-window)),
					put(store.Spool, fmt.Sprintf("%s/%d", name, i), fmt.Sprint(i)),
				}})
				if !ok || <-answer != nil {
					os.Exit(3)
				}
				out.Lock()
				fmt.Println(w, i)
				out.Unlock()
			}
		})
	}
	wg.Wait()
	return nil
}

// What was answered with nil is there after the process was killed, and of what was not
// answered either all or nothing.
func TestKilledProcessLosesNothingThatWasAnswered(t *testing.T) {
	const kills = 50
	path := filepath.Join(t.TempDir(), "db")
	answered := make([]int, writers)
	for kill := range kills {
		cmd := child(t, "write", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The moment of the kill walks through the course of a commit: it comes after
		// some answers plus a fraction of a millisecond.
		lines := bufio.NewScanner(out)
		for range 1 + kill*7%23 {
			readAnswer(t, lines, answered)
		}
		<-time.After(time.Duration(kill*137%1000) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for readAnswer(t, lines, answered) {
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the process ended by itself: %v", err)
		}
		s, rep := open(t, path, Options{})
		if rep.Lost() {
			t.Fatalf("kill %d: %v", kill, rep)
		}
		checkWriters(t, dump(t, s), answered)
		closeStore(t, s)
		if t.Failed() {
			t.Fatalf("kill %d", kill)
		}
	}
	t.Logf("answered batches of the writers after %d kills: %v", kills, answered)
}

func readAnswer(t *testing.T, lines *bufio.Scanner, answered []int) bool {
	t.Helper()
	if !lines.Scan() {
		return false
	}
	var w, i int
	if n, _ := fmt.Sscan(lines.Text(), &w, &i); n != 2 {
		t.Fatalf("unexpected line %q", lines.Text())
	}
	answered[w] = i
	return true
}

// checkWriters compares the records with what the counters of the writers say.
func checkWriters(t *testing.T, got records, answered []int) {
	t.Helper()
	want := make(records)
	for w := range writers {
		name := fmt.Sprint("w", w)
		n := 0
		if v := got["sessions/"+name]; v != "" {
			if _, err := fmt.Sscan(v, &n); err != nil {
				t.Fatal(err)
			}
			want["sessions/"+name] = v
		}
		if n < answered[w] {
			t.Errorf("writer %d: batch %d was answered, but the last one there is %d", w, answered[w], n)
		}
		for i := max(1, n-window+1); i <= n; i++ {
			want[fmt.Sprintf("held/%s/%d/", name, i)] = strings.Repeat("v", 10+i%700)
			want[fmt.Sprintf("spool/%s/%d", name, i)] = fmt.Sprint(i)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("not what was committed (-want +got):\n%s", diff)
	}
}

// childHold keeps the file open until its input ends.
func childHold(path string) error {
	s, _, err := Open(path, Options{})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return s.Close()
}

func TestFileUsedByAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	cmd := child(t, "hold", path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if lines := bufio.NewScanner(out); !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the other process said %q", lines.Text())
	}
	start := time.Now()
	_, _, err = Open(path, Options{LockTimeout: 200 * time.Millisecond})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("err = %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	if kept, _ := damagedFiles(path); kept != nil {
		t.Error("the file of the other process was moved aside")
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	s, rep := open(t, path, Options{})
	if rep.Created || rep.Lost() {
		t.Error(rep)
	}
	if _, _, err := Open(path, Options{LockTimeout: time.Millisecond}); !errors.Is(err, ErrLocked) {
		t.Errorf("second time in one process: %v", err)
	}
	mustWrite(t, s, put(store.Held, "k", "v"))
}
