package iso

import (
	"io/fs"
	"regexp"
	"strings"
)

const (
	platformBIOS = 0x00
	platformUEFI = 0xef
	// maxCatalog bounds how much of El Torito's catalog is read; images use two or three of its entries.
	maxCatalog = blockSize
	// maxBootConfig bounds the boot loader's config.
	maxBootConfig = 256 << 10
)

// Firmware says what the medium boots on.
type Firmware struct{ BIOS, UEFI bool }

// Firmware reads El Torito's catalog.
func (i *Image) Firmware() (Firmware, error) {
	var boots Firmware
	if i.bootAt == 0 {
		return boots, nil
	}
	catalog, err := i.read(i.bootAt, maxCatalog)
	if err != nil || catalog[0] != 1 || catalog[30] != 0x55 || catalog[31] != 0xaa {
		return boots, err
	}
	platform := catalog[1]
	for at := 32; at+32 <= len(catalog); at += 32 {
		switch entry := catalog[at : at+32]; entry[0] {
		case 0x90, 0x91: // The header of a section for another kind of firmware.
			platform = entry[1]
		case 0x88: // Something to boot.
			boots.BIOS = boots.BIOS || platform == platformBIOS
			boots.UEFI = boots.UEFI || platform == platformUEFI
		}
	}
	return boots, nil
}

// Kernel is what the medium's own boot loader would start first.
type Kernel struct {
	Kernel, Initrd string
	Arguments      string
}

// bootConfigs are where boot loaders have their menus.
var bootConfigs = []string{"/boot/grub2/grub.cfg", "/boot/grub/grub.cfg", "/grub/grub.cfg", "/EFI/BOOT/grub.cfg", "/boot/grub/loopback.cfg",
	"/isolinux/isolinux.cfg", "/boot/isolinux/isolinux.cfg", "/syslinux/syslinux.cfg"}

// Kernel reads the menu of the medium's boot loader. Its error is fs.ErrNotExist where none can be made sense of.
func (i *Image) Kernel() (Kernel, error) {
	for _, path := range bootConfigs {
		text, err := i.ReadFile(path, maxBootConfig)
		if missing(err) {
			continue
		}
		if err != nil {
			return Kernel{}, err
		}
		if kernel := parseMenu(string(text)); kernel.Kernel != "" && kernel.Initrd != "" {
			return kernel, nil
		}
	}
	return Kernel{}, fs.ErrNotExist
}

var (
	device   = regexp.MustCompile(`^\([^()]*\)`)
	variable = regexp.MustCompile(`\$\{?[A-Za-z_][A-Za-z0-9_]*\}?`)
)

// parseMenu understands the first entry of GRUB's and of SYSLINUX's menus. Of initrds it takes the first that is not ours.
func parseMenu(text string) Kernel {
	var found Kernel
	variables := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch word := strings.ToLower(fields[0]); {
		case word == "set":
			if name, value, ok := strings.Cut(strings.Join(fields[1:], " "), "="); ok {
				variables[name] = strings.Trim(value, `"'`)
			}
		case (word == "linux" || word == "linuxefi" || word == "kernel" || strings.HasPrefix(word, "$linux")) && found.Kernel == "":
			found.Kernel = menuPath(fields[1], variables)
			found.Arguments = menuArguments(fields[2:], variables)
		case (word == "initrd" || word == "initrdefi" || strings.HasPrefix(word, "$initrd")) && found.Kernel != "" && found.Initrd == "":
			found.Initrd = firstInitrd(fields[1:], variables)
		case word == "append" && found.Kernel != "" && found.Initrd == "":
			found.appendLine(fields[1:], variables)
		}
		if found.Kernel != "" && found.Initrd != "" {
			return found
		}
	}
	return found
}

// appendLine is SYSLINUX's way: the initrd is one of the arguments.
func (k *Kernel) appendLine(fields []string, variables map[string]string) {
	var rest []string
	for _, field := range fields {
		if value, ok := strings.CutPrefix(field, "initrd="); ok {
			k.Initrd = firstInitrd(strings.Split(value, ","), variables)
			continue
		}
		rest = append(rest, field)
	}
	k.Arguments = menuArguments(rest, variables)
}

func firstInitrd(fields []string, variables map[string]string) string {
	for _, field := range fields {
		if path := menuPath(field, variables); !strings.EqualFold(path, ReservedPath) {
			return path
		}
	}
	return ""
}

func menuPath(field string, variables map[string]string) string {
	return device.ReplaceAllString(strings.Trim(expand(field, variables), `"'`), "")
}

func menuArguments(fields []string, variables map[string]string) string {
	return strings.Join(strings.Fields(expand(strings.Join(fields, " "), variables)), " ")
}

// expand puts in variables that the menu sets, once; others, such as the device that it was loaded from, become nothing.
func expand(text string, variables map[string]string) string {
	return variable.ReplaceAllStringFunc(text, func(name string) string { return variables[strings.Trim(name, "${}")] })
}
