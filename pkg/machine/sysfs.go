package machine

import "path/filepath"

// readSysfs is the second source: the values that the kernel has decoded itself, one file each. Serial numbers and the UUID are readable by
// root only; what cannot be read is left out.
func readSysfs(folder string) map[string]any {
	smbios := map[string]any{}
	for _, source := range []struct{ file, structure, name string }{
		{"sys_vendor", "System Information", "Manufacturer"},
		{"product_name", "System Information", "Product Name"},
		{"product_version", "System Information", "Version"},
		{"product_serial", "System Information", "Serial Number"},
		{"product_uuid", "System Information", "UUID"},
		{"product_sku", "System Information", "SKU Number"},
		{"product_family", "System Information", "Family"},
		{"bios_vendor", "BIOS Information", "Vendor"},
		{"bios_version", "BIOS Information", "Version"},
		{"bios_date", "BIOS Information", "Release Date"},
		{"board_vendor", "Base Board Information", "Manufacturer"},
		{"board_name", "Base Board Information", "Product Name"},
		{"board_version", "Base Board Information", "Version"},
		{"board_serial", "Base Board Information", "Serial Number"},
		{"board_asset_tag", "Base Board Information", "Asset Tag"},
		{"chassis_vendor", "Chassis Information", "Manufacturer"},
		{"chassis_version", "Chassis Information", "Version"},
		{"chassis_serial", "Chassis Information", "Serial Number"},
		{"chassis_asset_tag", "Chassis Information", "Asset Tag"},
	} {
		data, err := readBounded(filepath.Join(folder, source.file), 4096)
		value := cleanString(data)
		if err != nil || value == "" {
			continue
		}
		values, ok := smbios[source.structure].(map[string]any)
		if !ok {
			values = map[string]any{}
			smbios[source.structure] = values
		}
		values[source.name] = value
	}
	return smbios
}
