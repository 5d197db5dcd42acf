package model

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// scripts that only take their time: `sleep 8`, `sleep 8; exit 1`, `exit 1`.
var scripts = regexp.MustCompile(`^\s*(?:(?:exec\s+)?(?:/bin/)?sleep\s+([0-9.]+[smhd]?|infinity)\s*)?(?:(?:^|;|&&)\s*exit\s+(\d+)\s*)?;?\s*$`)

// Script reads how long a command takes and with which code it exits, if it does nothing
// else than that. What never ends takes a negative time.
func Script(command []string) (takes time.Duration, code int, ok bool) {
	line := strings.Join(command, " ")
	if len(command) == 3 && strings.HasSuffix(command[0], "sh") && strings.HasSuffix(command[1], "c") {
		line = command[2]
	}
	m := scripts.FindStringSubmatch(line)
	if m == nil || m[1] == "" && m[2] == "" {
		return 0, 0, false
	}
	code, _ = strconv.Atoi(m[2])
	switch n := strings.TrimRight(m[1], "smhd"); {
	case m[1] == "infinity":
		return -1, code, true
	case m[1] != "":
		unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[m[1][len(m[1])-1]]
		if unit == 0 {
			unit = time.Second
		}
		seconds, err := strconv.ParseFloat(n, 64)
		return time.Duration(seconds * float64(unit)), code, err == nil
	}
	return 0, code, true
}
