"""From feature tables to cells: scores, nulls, power, alarms and the word that they earn. Reads tables only."""
