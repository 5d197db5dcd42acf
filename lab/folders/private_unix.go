//go:build unix

package folders

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// private refuses a folder that another user could change or put in another's
// place: one that is not ours, or that is within one that belongs to neither us nor
// the administrator nor the owner of our home, or within one in which everybody can
// rename what is not theirs. Last says that dir is the folder of labs itself, which
// nobody else is to enter.
func private(dir string, last bool) error {
	me := os.Geteuid()
	trusted := map[int]bool{me: true, 0: true}
	if home, err := os.UserHomeDir(); err == nil {
		if info, err := os.Stat(home); err == nil {
			trusted[owner(info)] = true // a container's home may be another's than its process
		}
	}
	for path := dir; ; path = filepath.Dir(path) {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		switch mode := info.Mode(); {
		case !mode.IsDir():
			return fmt.Errorf("%s is not a folder", path)
		case last && path == dir && owner(info) != me:
			return fmt.Errorf("%s belongs to another user (uid %d, ours is %d)", path, owner(info), me)
		case last && path == dir && mode.Perm() != 0o700:
			if err := os.Chmod(path, 0o700); err != nil {
				return err
			}
		case !trusted[owner(info)]:
			return fmt.Errorf("%s belongs to another user (uid %d, ours is %d), who could put another folder in the place of ours", path, owner(info), me)
		case mode.Perm()&0o002 != 0 && mode&os.ModeSticky == 0:
			return fmt.Errorf("everybody may rename what is in %s (mode %#o, without the sticky bit)", path, mode.Perm())
		case mode.Perm()&0o020 != 0 && mode&os.ModeSticky == 0 && !onlyOurs(group(info)):
			return fmt.Errorf("group %d may rename what is in %s (mode %#o, without the sticky bit): chmod g-w %s", group(info), path, mode.Perm(), path)
		}
		if path == filepath.Dir(path) {
			return nil
		}
	}
}

// onlyOurs says whether a group is the administrator's, or our primary group of the
// number of our user, which has no other member by the custom of Linux (user private groups).
func onlyOurs(gid int) bool { return gid == 0 || gid == os.Getegid() && gid == os.Geteuid() }

func owner(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

func group(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Gid) }
