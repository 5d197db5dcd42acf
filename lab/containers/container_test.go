package containers

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/hpabench/hpabench/model"
)

const ms = time.Millisecond

// journal is a log with the time of each line since the start.
type journal struct {
	mu    sync.Mutex
	start time.Time
	text  bytes.Buffer
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.WriteString(time.Since(j.start).String() + " ")
	return j.text.Write(line)
}

// begin starts a container whose node has four cores.
func begin(t *testing.T, image, text string, cfg Config) (*Container, *journal) {
	t.Helper()
	m, err := model.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	j := &journal{start: time.Now()}
	cfg.Model, cfg.Log = model.Resolve(&corev1.Container{Image: image}, m), j
	if cfg.Node == nil {
		cfg.Node = NewCPU(4)
	}
	return Start(cfg), j
}

// ask opens a pipe and sends a request on it, whose answer nobody waits for.
func ask(t *testing.T, c *Container) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	if err := c.Serve(server); err != nil {
		t.Fatal(err)
	}
	go func() {
		io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		io.Copy(io.Discard, client)
	}()
	t.Cleanup(func() { client.Close() })
	return client
}

func TestLife(t *testing.T) {
	for name, c := range map[string]struct {
		image, model string
		cfg          Config
		do           func(*testing.T, *Container)
		exit         Exit
		log          string
	}{
		"SIGTERM, with nothing to answer": {
			"app", `{"start": "2s", "drain": "3s"}`, Config{},
			func(_ *testing.T, c *Container) { time.Sleep(5 * time.Second); c.Terminate(); c.Terminate() },
			Exit{0, "Completed"}, "0s starting|2s listening|5s SIGTERM|8s exit 0 Completed",
		},
		"SIGTERM before it listens": {
			"app", `{"start": "2s", "drain": "3s"}`, Config{},
			func(_ *testing.T, c *Container) { time.Sleep(time.Second); c.Terminate() },
			Exit{0, "Completed"}, "0s starting|1s SIGTERM|1s exit 0 Completed",
		},
		"SIGTERM with a request in flight": {
			"app", `{"start": "1s", "wait": {"mean": "10s"}, "cpu": {"mean": "0s"}}`, Config{},
			func(t *testing.T, c *Container) {
				time.Sleep(time.Second + 1)
				ask(t, c)
				time.Sleep(time.Second)
				c.Terminate()
			},
			Exit{0, "Completed"}, "0s starting|1s listening|2.000000001s SIGTERM|11.000000001s exit 0 Completed",
		},
		"SIGTERM with a connection that never says anything": {
			"app", `{"start": "1s"}`, Config{},
			func(t *testing.T, c *Container) {
				time.Sleep(2 * time.Second)
				client, server := net.Pipe()
				if err := c.Serve(server); err != nil {
					t.Fatal(err)
				}
				go io.Copy(io.Discard, client)
				c.Terminate()
			},
			Exit{0, "Completed"}, "0s starting|1s listening|2s SIGTERM|7s exit 0 Completed",
		},
		"SIGTERM, and SIGKILL when the grace period is over": {
			"app", `{"start": "1s", "drain": "1h"}`, Config{},
			func(_ *testing.T, c *Container) {
				time.Sleep(2 * time.Second)
				c.Terminate()
				time.Sleep(30 * time.Second)
				c.Kill()
			},
			Exit{137, "Error"}, "0s starting|1s listening|2s SIGTERM|32s exit 137 Error",
		},
		"nginx does not wait for its requests": {
			"nginx", `{"wait": {"mean": "10s"}}`, Config{},
			func(t *testing.T, c *Container) {
				time.Sleep(time.Second)
				ask(t, c)
				time.Sleep(time.Second)
				c.Terminate()
			},
			Exit{0, "Completed"}, "0s starting|25ms listening|2s SIGTERM|2s exit 0 Completed",
		},
		"a limit makes the start longer": {
			// 1 s of CPU time at a fifth of a core: the first 20 ms of 50 periods.
			"app", `{"start": "0s", "startCPU": "1s", "idleCPU": "0"}`, Config{CPULimit: 0.2},
			func(_ *testing.T, c *Container) { time.Sleep(5 * time.Second); c.Kill() },
			Exit{137, "Error"}, "0s starting|4.92s listening|5s exit 137 Error",
		},
		"crash": {
			"app", `{"start": "1s", "fault": {"crash": "90s"}}`, Config{},
			func(*testing.T, *Container) {},
			Exit{1, "Error"}, "0s starting|1s listening|1m30s crashing, as the model says|1m30s exit 1 Error",
		},
		"memory at rest is too much": {
			"app", `{"start": "1s", "memory": "65Mi"}`, Config{MemoryLimit: 64 << 20},
			func(*testing.T, *Container) {},
			Exit{137, "OOMKilled"}, "0s starting|1s exit 137 OOMKilled",
		},
		"requests in flight are too much": {
			"app", `{"start": "1s", "memory": "40Mi", "memoryPerRequest": "10Mi", "wait": {"mean": "10s"}}`, Config{MemoryLimit: 64 << 20},
			func(t *testing.T, c *Container) {
				time.Sleep(1500 * time.Millisecond)
				for range 3 {
					ask(t, c)
				}
			},
			Exit{137, "OOMKilled"}, "0s starting|1s listening|1.5s exit 137 OOMKilled",
		},
		"what requests leave behind is too much": {
			"app", `{"start": "1s", "memory": "40Mi", "memoryPerRequest": "10Mi", "memoryHeld": "1m", "cpu": {"mean": "0s"}}`, Config{MemoryLimit: 64 << 20},
			func(t *testing.T, c *Container) {
				time.Sleep(2 * time.Second)
				ask(t, c)
				time.Sleep(70 * time.Second) // long enough for the first to be forgotten
				for range 3 {
					ask(t, c)
					time.Sleep(time.Second)
				}
			},
			Exit{137, "OOMKilled"}, "0s starting|1s listening|1m14s exit 137 OOMKilled",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				container, log := begin(t, c.image, c.model, c.cfg)
				c.do(t, container)
				if got := container.Exit(); got != c.exit {
					t.Errorf("exit %+v, want %+v", got, c.exit)
				}
				if container.Listening() {
					t.Error("a process that has ended listens")
				}
				lines := strings.ReplaceAll(strings.TrimSpace(log.text.String()), "\n", "|")
				if diff := cmp.Diff(strings.Split(c.log, "|"), strings.Split(lines, "|")); diff != "" {
					t.Errorf("log (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestUsage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := begin(t, "app", `{"start": "1s", "idleCPU": "100m", "memory": "10Mi", "memoryPerRequest": "1Mi", "cpu": {"mean": "2s"}}`, Config{})
		type usage struct {
			CPU    time.Duration
			Memory int64
		}
		look := func() usage {
			cpu, memory := c.Usage(time.Now())
			return usage{cpu.Round(time.Microsecond), memory >> 20}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		got := []usage{look()}
		ask(t, c)
		ask(t, c)
		time.Sleep(time.Second)
		got = append(got, look()) // half of both requests
		time.Sleep(2 * time.Second)
		got = append(got, look())
		ask(t, c)
		time.Sleep(time.Second)
		c.Kill()
		got = append(got, look()) // half of a request, and nothing after the end
		time.Sleep(time.Hour)
		got = append(got, look())
		want := []usage{
			{100 * ms, 10}, {2200 * ms, 12}, {4400 * ms, 10}, {5500 * ms, 0}, {5500 * ms, 0},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// A process that its limit holds back does not answer probes either: that is how
// a limit that is too low makes liveness probes kill it.
func TestProbesWaitForTheEndOfThrottling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := begin(t, "hpa-example", `{"startCPU": "0s", "idleCPU": "0", "cpu": {"mean": "10s"}}`, Config{CPULimit: 0.5})
		synctest.Wait()
		probe := func() time.Duration {
			client, server := net.Pipe()
			defer client.Close()
			if err := c.Serve(server); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			go io.WriteString(client, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			answer, err := io.ReadAll(client)
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
				t.Errorf("%s: %v", answer, err)
			}
			return time.Since(start)
		}
		before := probe()
		ask(t, c)
		time.Sleep(70 * ms)
		if got := []time.Duration{before, probe()}; !cmp.Equal(got, []time.Duration{0, 30 * ms}) {
			t.Errorf("probes took %v before and while throttled", got)
		}
		if got := c.Stat(); got != (model.Stat{Periods: 1, Throttled: 1, ThrottledTime: 50 * ms}) {
			t.Errorf("%+v", got)
		}
		c.Kill()
	})
}
