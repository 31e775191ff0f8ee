"""What the Comfy Registry needs: icon and banner, locale files, the release archive."""
